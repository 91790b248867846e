# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that show golden images and the VMs on them: as the list for programs, and as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..module_utils.image_names import split, versions
from ..plugin_utils.table import table

COLUMNS = ("Name", "Version", "Size", "CreatedAt", "State", "VMs", "On it")


def image_list(
    ceph: Mapping[str, Sequence[Mapping[str, Any]]], registered: Iterable[str], vms: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What Ceph and the registry know of every image.

    Args:
        ceph: the result of virt_rbd_image_info.
        registered: the names of those in the registry.
        vms: the VMs of the registry, by whose id a volume gets the name of its VM.

    Returns:
        The images; `State` is newest (what a name without version means), available, unregistered (in Ceph only),
        missing (in the registry only) or trash.
    """
    known = set(registered)
    names = {vm["id"]: vm["name"] for vm in vms}
    newest = {versions(known, split(name)[0])[-1] for name in known}
    listed = [_entry(image, names, _state(image["name"], known, newest)) for image in ceph["images"]]
    listed += [_missing(name) for name in sorted(known - {image["name"] for image in ceph["images"]})]
    return listed + [_entry(image, names, "trash") for image in ceph["trashed"]]


def image_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The list as a table; a clone of a clone shows its depth, and what no VM has any more its volume."""
    return table(COLUMNS, [_row(row) for row in rows])


def _state(name: str, registered: set[str], newest: set[str]) -> str:
    if name not in registered:
        return "unregistered"
    return "newest" if name in newest else "available"


def _entry(image: Mapping[str, Any], names: Mapping[str, str], state: str) -> dict[str, Any]:
    volumes = [
        {
            "VM": names.get(volume["vm_id"]),
            "Volume": volume["volume"],
            "Depth": volume["depth"],
            "InTrash": volume["in_trash"],
        }
        for volume in image["volumes"]
    ]
    return {
        "Image": image["name"],
        "Name": image["image"],
        "Version": image["version"],
        "Size": str(image["size_gib"]),
        "CreatedAt": image["created_at"],
        "State": state,
        "VMs": len({volume["VM"] for volume in volumes if volume["VM"]}),
        "Volumes": volumes,
    }


def _missing(full: str) -> dict[str, Any]:
    name, version = split(full)
    return {
        "Image": full, "Name": name, "Version": version, "Size": None, "CreatedAt": None, "State": "missing",
        "VMs": 0, "Volumes": [],
    }  # fmt: skip


def _row(entry: Mapping[str, Any]) -> dict[str, str]:
    cells = {column: "-" if entry[column] is None else str(entry[column]) for column in COLUMNS[:-1]}
    return cells | {"On it": ", ".join(_volume(volume) for volume in entry["Volumes"])}


def _volume(volume: Mapping[str, Any]) -> str:
    text = volume["VM"] or volume["Volume"]
    remarks = [f"depth {volume['Depth']}"] if volume["Depth"] > 1 else []
    remarks += ["in the trash"] if volume["InTrash"] else []
    return f"{text} ({', '.join(remarks)})" if remarks else str(text)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"image_list": image_list, "image_table": image_table}
