# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of a VM that moves to another node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import registry_rows as rows
from .errors import Conflict, Invalid
from .placement import place
from .registry_nodes import Room
from .spec import VmSpec


def is_moving(row: Mapping[str, Any]) -> bool:
    """Whether a move of this VM was begun and not recorded."""
    return "moving_to" in row["spec"]


def target(cursor: Any, row: Mapping[str, Any], wanted: str | None) -> str:
    """The node that the VM goes to: the one that it is half-way to, the one that is wanted, or the best one.

    The best one is where it would be put if it were new, and may be where it is, so that a second run changes nothing.

    Raises:
        Invalid: there is no such node.
        Conflict: it is half-made, or half-way to another node.
        VirtfleetError: no_capacity.
    """
    if is_moving(row):
        return _continued(row, wanted)
    if not row["made"]:
        raise Conflict(f"VM {row['name']} is half-made", "Finish that first: create_vm.yml with the same name.")
    nodes = Room(cursor).nodes(rows.placement_of(row).group)
    names = [node["name"] for node in nodes]
    if wanted is not None and wanted not in names:
        raise Invalid([f"node {wanted} is none of {', '.join(names)}"])
    if wanted == row["node"]:
        return str(wanted)
    return str(place(_as_spec(row, wanted), _without(row, nodes))["name"])


def _continued(row: Mapping[str, Any], wanted: str | None) -> str:
    moving_to = str(row["spec"]["moving_to"])
    if wanted not in (None, moving_to, row["node"]):
        raise Conflict(
            f"VM {row['name']} is half-way from {row['node']} to {moving_to}, and cannot go to {wanted} from there",
            f"Finish that first (without node), or give node={row['node']} to keep it where it was.",
        )
    return moving_to if wanted is None else str(wanted)


def _without(row: Mapping[str, Any], nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes as if the VM were nowhere, its own first: among equals it stays."""
    own = [node for node in nodes if node["name"] == row["node"]]
    freed = {"used_memory_mib": -row["memory_mib"], "used_vcpus": -row["vcpus"]}
    if rows.placement_of(row).group is not None:
        freed["group_vms"] = -1
    return [
        *(node | {key: node[key] + change for key, change in freed.items()} for node in own),
        *(node for node in nodes if node not in own),
    ]


def _as_spec(row: Mapping[str, Any], node: str | None) -> VmSpec:
    columns = ("name", "project", "memory_mib", "vcpus", "disk_gib", "image")
    return VmSpec(**{column: row[column] for column in columns}, node=node, placement=rows.placement_of(row))


def begin(cursor: Any, row: Mapping[str, Any], node: str, actor: str, lease_seconds: int) -> str:
    """Write where the VM goes, so that its room there is taken, and return its lease."""
    if not is_moving(row):
        cursor.execute(
            "UPDATE vm SET spec = spec || jsonb_build_object('moving_to', %s::text) WHERE id = %s", (node, row["id"])
        )
    rows.event(cursor, row["id"], actor, "migrate", {"from": row["node"], "to": node, "resumed": is_moving(row)})
    return rows.take_lease(cursor, row["id"], actor, lease_seconds, "migrating")
