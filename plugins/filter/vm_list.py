# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that show VMs: as the list for programs, and as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..plugin_utils.table import table

COLUMNS = ("Name", "RAM", "CPU", "Disk", "IP", "CreatedAt", "Node", "State", "Image")


def vm_list(vms: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The VMs with the field names and value forms (all strings) of the list."""
    return [
        {
            "Name": vm["name"],
            "RAM": str(vm["memory_mib"]),
            "CPU": str(vm["vcpus"]),
            "Disk": str(vm["disk_gib"]),
            "IP": vm["ip"] or "unassigned",
            "CreatedAt": str(vm["created_at"]),
            "Node": vm["node"],
            "State": vm["state"],
            "Image": vm["image"],
        }
        for vm in vms
    ]


def vm_table(rows: Iterable[Mapping[str, str]]) -> str:
    """The list as a table with aligned columns."""
    return table(COLUMNS, rows)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"vm_list": vm_list, "vm_table": vm_table}
