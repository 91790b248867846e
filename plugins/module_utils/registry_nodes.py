# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of nodes: capacity, what is used of it, state and labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Invalid
from .placement import place
from .spec import VmSpec

# Two VMs of one transaction are put on their nodes one after the other.
_INSTANT = 1e-6
STATES = ("active", "cordoned", "down")
_SHOWN = ("name", "address", "vcpus", "memory_mib", "cpu_overcommit", "memory_overcommit", "state", "labels")


def with_use(cursor: Any) -> list[dict[str, Any]]:
    """Every node with its capacity and what its VMs use of it; a VM that moves uses both of its nodes.

    Returns:
        For each, by name: name, address, state, labels, vcpus, memory_mib, cpu_overcommit, memory_overcommit, vms,
        used_vcpus, used_memory_mib, placed_at (seconds since 1970, 0 if never) and seen_at (UTC or None).
    """
    cursor.execute(
        """SELECT node.name, node.address, node.state, node.labels, node.vcpus, node.memory_mib,
               node.cpu_overcommit, node.memory_overcommit, coalesce(used.vms, 0)::integer AS vms,
               coalesce(used.vcpus, 0)::integer AS used_vcpus, coalesce(used.memory_mib, 0)::bigint AS used_memory_mib,
               coalesce(extract(epoch FROM node.placed_at), 0)::double precision AS placed_at,
               to_char(node.seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS seen_at
           FROM node LEFT JOIN (
               SELECT name, count(*) AS vms, sum(vcpus) AS vcpus, sum(memory_mib) AS memory_mib
               FROM (SELECT node AS name, vcpus, memory_mib FROM vm WHERE state <> 'deleted'
                     UNION ALL
                     SELECT spec->>'moving_to', vcpus, memory_mib FROM vm
                     WHERE spec ? 'moving_to' AND spec->>'moving_to' <> node AND state <> 'deleted') AS placed
               GROUP BY name) AS used ON used.name = node.name
           ORDER BY node.name"""
    )
    return [dict(row) for row in cursor.fetchall()]


class Room:
    """The nodes with what is used of them, read once in a transaction that takes room, and kept up with it.

    When each node was chosen last is written at the end of its use as a context manager.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._nodes = {node["name"]: node for node in with_use(cursor)}
        self._groups: dict[str, dict[str, int]] = {}
        self._chosen: dict[str, float] = {}
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::double precision AS now")
        self._now: float = cursor.fetchone()["now"]

    @property
    def names(self) -> list[str]:
        return list(self._nodes)

    def node(self, name: str) -> dict[str, str]:
        """Name and address of a node."""
        node = self._nodes[name]
        return {"name": node["name"], "address": node["address"]}

    def nodes(self, group: str | None = None) -> list[dict[str, Any]]:
        """As with_use reads them, with the VMs of this anti-affinity group counted as group_vms."""
        counts = self._group(group) if group is not None else {}
        return [node | {"group_vms": counts.get(name, 0)} for name, node in self._nodes.items()]

    def choose(self, spec: VmSpec) -> str:
        """The node that a VM is put on now; its room is taken.

        Raises:
            VirtfleetError: no_capacity, with the reason for each node.
        """
        group = spec.placement.group
        name = str(place(spec, self.nodes(group))["name"])
        node = self._nodes[name]
        self._now += _INSTANT
        node["placed_at"] = self._chosen[name] = self._now
        node["vms"] += 1
        node["used_memory_mib"] += spec.memory_mib
        node["used_vcpus"] += spec.vcpus
        if group is not None:
            counts = self._group(group)
            counts[name] = counts.get(name, 0) + 1
        return name

    def __enter__(self) -> Room:
        return self

    def __exit__(self, failure: object, *_unused: object) -> None:
        if failure is not None:
            return
        for name, at in self._chosen.items():
            self._cursor.execute("UPDATE node SET placed_at = to_timestamp(%s) WHERE name = %s", (at, name))

    def _group(self, group: str) -> dict[str, int]:
        if group not in self._groups:
            self._cursor.execute(
                """SELECT node.name, count(*)::integer AS vms
                   FROM vm JOIN node ON node.name IN (vm.node, vm.spec->>'moving_to')
                   WHERE vm.state <> 'deleted' AND vm.spec #>> '{placement,anti_affinity,group}' = %s
                   GROUP BY node.name""",
                (group,),
            )
            self._groups[group] = {row["name"]: row["vms"] for row in self._cursor.fetchall()}
        return self._groups[group]


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
