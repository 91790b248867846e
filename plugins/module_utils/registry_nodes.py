# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of nodes: capacity, what is used of it, state and labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Invalid

STATES = ("active", "cordoned", "down")
_SHOWN = ("name", "address", "vcpus", "memory_mib", "cpu_overcommit", "memory_overcommit", "state", "labels")


def with_use(cursor: Any, group: str | None = None) -> list[dict[str, Any]]:
    """Every node with its capacity and what its VMs use of it; a VM that moves uses both of its nodes.

    Args:
        group: the anti-affinity group whose VMs are counted, as group_vms.

    Returns:
        For each, by name: name, address, state, labels, vcpus, memory_mib, cpu_overcommit, memory_overcommit, vms,
        used_vcpus, used_memory_mib, group_vms, placed_at (seconds since 1970, 0 if never) and seen_at (UTC or None).
    """
    cursor.execute(
        """SELECT node.name, node.address, node.state, node.labels, node.vcpus, node.memory_mib,
               node.cpu_overcommit, node.memory_overcommit, count(vm.id) AS vms,
               coalesce(sum(vm.vcpus), 0) AS used_vcpus, coalesce(sum(vm.memory_mib), 0) AS used_memory_mib,
               count(vm.id) FILTER (WHERE vm.spec #>> '{placement,anti_affinity,group}' = %s) AS group_vms,
               coalesce(extract(epoch FROM node.placed_at), 0)::double precision AS placed_at,
               to_char(node.seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS seen_at
           FROM node LEFT JOIN vm ON node.name IN (vm.node, vm.spec->>'moving_to') AND vm.state <> 'deleted'
           GROUP BY node.name ORDER BY node.name""",
        (group,),
    )
    return [dict(row) for row in cursor.fetchall()]


def chosen(cursor: Any, name: str) -> None:
    """A VM is put on this node now."""
    cursor.execute("UPDATE node SET placed_at = clock_timestamp() WHERE name = %s", (name,))


def seen(cursor: Any, names: Sequence[str]) -> None:
    """These nodes answered now."""
    cursor.execute("UPDATE node SET seen_at = clock_timestamp() WHERE name = ANY(%s)", (list(names),))


def put(cursor: Any, name: str, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a node what is wanted of it, or register it; what is None stays.

    Returns:
        The node before (nothing where there was none) and after.

    Raises:
        Invalid: a new one needs its address and capacity.
    """
    columns = ", ".join(_SHOWN)
    cursor.execute(f"SELECT {columns} FROM node WHERE name = %s FOR UPDATE", (name,))
    before = dict(cursor.fetchone() or {})
    given = {key: value for key, value in wanted.items() if value is not None}
    missing = [key for key in ("address", "vcpus", "memory_mib") if key not in given]
    if not before and missing:
        raise Invalid([f"node {name} is not there, and a new one needs {', '.join(missing)} (site.yml registers it)"])
    if any(before.get(key) != value for key, value in given.items()):
        row = {"name": name} | given
        if "labels" in row:
            row["labels"] = json.dumps(row["labels"])
        fields = ", ".join(row)
        values = ", ".join(f"%({field})s" for field in row)
        if before:
            cursor.execute(f"UPDATE node SET ({fields}, updated_at) = ROW({values}, now()) WHERE name = %(name)s", row)
        else:
            cursor.execute(f"INSERT INTO node ({fields}) VALUES ({values})", row)
    cursor.execute(f"SELECT {columns} FROM node WHERE name = %s", (name,))
    return before, dict(cursor.fetchone())
