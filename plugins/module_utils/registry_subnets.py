# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of subnets, and which addresses VMs have in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Conflict, Invalid
from .nic import Nic
from .subnet import Subnet, connected, read_subnet


def listed(cursor: Any) -> list[dict[str, Any]]:
    """Every subnet by name, with how many addresses VMs have in it as `used`."""
    cursor.execute("SELECT definition FROM subnet ORDER BY name")
    found = [dict(row["definition"]) for row in cursor.fetchall()]
    return [subnet | {"used": len(used(cursor, subnet["name"]))} for subnet in found]


def used(cursor: Any, name: str) -> list[str]:
    """The addresses that VMs have in a subnet."""
    cursor.execute(
        """SELECT split_part(nic->>'address', '/', 1) AS address
           FROM vm CROSS JOIN jsonb_array_elements(spec->'networks') AS nic
           WHERE state <> 'deleted' AND spec->'networks' @> %s AND nic->>'subnet' = %s""",
        (json.dumps([{"subnet": name}]), name),
    )
    return [row["address"] for row in cursor.fetchall()]


def put(cursor: Any, subnet: Subnet) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a subnet, or give it another definition; VMs that are in it keep what they have. Before and after."""
    before = _definition(cursor, subnet.name)
    after = subnet.as_dict()
    if before != after:
        cursor.execute(
            """INSERT INTO subnet (name, definition) VALUES (%s, %s) ON CONFLICT (name)
               DO UPDATE SET (definition, updated_at) = (excluded.definition, now())""",
            (subnet.name, json.dumps(after)),
        )
    return before, after


def drop(cursor: Any, name: str) -> dict[str, Any]:
    """Take a subnet away; what it was, or nothing.

    Raises:
        Conflict: VMs are in it.
    """
    taken = used(cursor, name)
    if taken:
        raise Conflict(f"Subnet {name} has {len(taken)} addresses of VMs", "Delete these first (list_vms.yml).")
    before = _definition(cursor, name)
    cursor.execute("DELETE FROM subnet WHERE name = %s", (name,))
    return before


def connect(cursor: Any, nics: Sequence[Nic]) -> tuple[Nic, ...]:
    """The interfaces, those in subnets with addresses that nobody has.

    Raises:
        Invalid: there is no such subnet, or an address is none of it; every problem at once.
        VirtfleetError: no_capacity, when no address is free.
    """
    problems: list[str] = []
    connected_nics: list[Nic] = []
    has_gateway = any(nic.gateway for nic in nics)
    for nic in nics:
        if nic.subnet is not None:
            definition = _definition(cursor, nic.subnet)
            if not definition:
                problems.append(f"networks: subnet {nic.subnet} is none of {_names(cursor)}")
                continue
            mine = [other.ip for other in connected_nics if other.subnet == nic.subnet and other.ip]
            try:
                subnet = read_subnet(definition)
                nic = connected(nic, subnet, [*used(cursor, nic.subnet), *mine], not has_gateway)
            except Invalid as error:
                problems += error.problems
                continue
            has_gateway = has_gateway or nic.gateway is not None
        connected_nics.append(nic)
    if problems:
        raise Invalid(problems)
    return tuple(connected_nics)


def _definition(cursor: Any, name: str) -> dict[str, Any]:
    cursor.execute("SELECT definition FROM subnet WHERE name = %s", (name,))
    row: Mapping[str, Any] | None = cursor.fetchone()
    return dict(row["definition"]) if row else {}


def _names(cursor: Any) -> str:
    cursor.execute("SELECT name FROM subnet ORDER BY name")
    return ", ".join(row["name"] for row in cursor.fetchall()) or "no subnets at all (set_subnet.yml makes them)"
