# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions insert of what was lost; rows that are there are never touched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import registry_nics as nics
from . import registry_nodes as nodes
from . import registry_rows as rows
from .rebuild_plan import Known, Lost
from .reconcile_plan import Finding
from .registry_insert import NewVm, insert
from .seen import Seen


def known(cursor: Any, there: Sequence[Mapping[str, Any]], seen: Seen) -> Known:
    """What has to be known of the registry to tell which VMs it does not have.

    Args:
        there: the VMs that are not deleted.
    """
    ids = {domain.id for domain in seen.domains} - {row["id"] for row in there}
    cursor.execute("SELECT id::text FROM vm WHERE state = 'deleted' AND id::text = ANY(%s)", (list(ids),))
    deleted = frozenset(row["id"] for row in cursor.fetchall())
    return Known(there, deleted, frozenset(node["name"] for node in nodes.with_use(cursor)))


def record(cursor: Any, one: Lost, actor: str, action: str) -> None:
    """Make the row of a VM that is on its node, and tell its history that this action did."""
    if one.wanted is None:
        return
    insert(cursor, NewVm(one.wanted, one.node, one.id), actor, 0, action)
    cursor.execute(
        f"""UPDATE vm SET state = %(state)s, made = true, lease_by = NULL, lease_until = NULL, spec = spec || %(kept)s,
               ip = coalesce({nics.STATIC_IP}, %(ip)s::inet),
               created_at = coalesce(%(created_at)s::timestamptz, created_at) WHERE id = %(id)s""",
        {"state": one.state, "kept": json.dumps(one.kept), "ip": one.ip, "created_at": one.created_at, "id": one.id},
    )


def add_nodes(cursor: Any, told: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Register the nodes that are not there.

    Args:
        told: address, vcpus and memory_mib of each.
    """
    there = {node["name"] for node in nodes.with_use(cursor)}
    found = []
    for name, node in sorted(told.items()):
        if name not in there:
            nodes.put(cursor, name, node)
            detail = f"{node['address']}, {node['vcpus']} CPU, {node['memory_mib']} MiB"
            found.append(Finding("unknown_node", name, detail, "record it"))
    return found


def add_images(cursor: Any, told: Mapping[str, int]) -> list[Finding]:
    """Register the images that are not there, each with its size in GiB."""
    there = rows.images(cursor)
    missing = {name: size for name, size in sorted(told.items()) if name not in there}
    for name, size in missing.items():
        cursor.execute("INSERT INTO image (name, size_gib) VALUES (%s, %s)", (name, size))
    return [Finding("unknown_image", name, f"{size} GiB", "record it") for name, size in missing.items()]


def missing_subnets(cursor: Any) -> list[Finding]:
    """The subnets that VMs have addresses in, and that are not there: only people know what they were."""
    cursor.execute(
        """SELECT nic->>'subnet' AS name, count(*)::integer AS used
           FROM vm CROSS JOIN jsonb_array_elements(spec->'networks') AS nic
           WHERE state <> 'deleted' AND nic ? 'subnet' AND nic->>'subnet' NOT IN (SELECT name FROM subnet)
           GROUP BY 1 ORDER BY 1"""
    )
    return [
        Finding("unknown_subnet", row["name"], f"{row['used']} interfaces are in it: set_subnet.yml defines it")
        for row in cursor.fetchall()
    ]
