# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of the interfaces of VMs: MAC and static addresses that nobody else has."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .nic import Nic, parse_nics

# SQL: the static address of the first interface of a VM, or NULL.
STATIC_IP = "split_part(spec #>> '{networks,0,address}', '/', 1)::inet"


def of_row(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The interfaces of a VM. One from before there could be several has only its MAC."""
    found: list[dict[str, Any]] = row["spec"].get("networks", [{"mac": row["mac"]}])
    return found


def with_macs(nics: Sequence[Nic], macs: Iterator[str]) -> list[Nic]:
    """The interfaces, each with a MAC."""
    return [nic if nic.mac else replace(nic, mac=next(macs)) for nic in nics]


def as_given(wanted: tuple[Nic, ...], there: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The interfaces that are wanted, as they are where something was left open."""
    open_still: list[Mapping[str, Any]] = [{}] * len(wanted)
    return [_one_as_given(nic, has) for nic, has in zip(wanted, [*there, *open_still], strict=False)]


def _one_as_given(nic: Nic, there: Mapping[str, Any]) -> dict[str, Any]:
    given = nic.as_dict()
    if nic.subnet is not None and nic.ip is not None and nic.ip == str(there.get("address")).partition("/")[0]:
        del given["address"]  # Its prefix length is that of the subnet.
    return {**there, **given}


def taken(cursor: Any, nics: Sequence[Nic]) -> list[str]:
    """What of the MAC and static addresses of these interfaces another VM has."""
    macs = {nic.mac for nic in nics if nic.mac}
    addresses = {(nic.link, nic.vlan, nic.ip) for nic in nics if nic.ip}
    if not macs and not addresses:
        return []
    cursor.execute(
        """SELECT name, mac::text, spec FROM vm WHERE state <> 'deleted' AND (mac::text = ANY(%(macs)s) OR EXISTS (
               SELECT FROM jsonb_array_elements(spec->'networks') AS nic
               WHERE nic->>'mac' = ANY(%(macs)s) OR split_part(nic->>'address', '/', 1) = ANY(%(ips)s)))
           ORDER BY name""",
        {"macs": list(macs), "ips": [ip for _link, _vlan, ip in addresses]},
    )
    problems = []
    for row in cursor.fetchall():
        for nic in parse_nics(of_row(row)):
            if nic.mac in macs:
                problems.append(f"networks: mac {nic.mac} is that of VM {row['name']}")
            # The same address somewhere else is another one.
            if (nic.link, nic.vlan, nic.ip) in addresses:
                problems.append(f"networks: address {nic.ip} is that of VM {row['name']}")
    return problems


def free_macs(cursor: Any, count: int) -> list[str]:
    """So many random MACs with QEMU's prefix that no VM has; the unique index would refuse them otherwise."""
    free: dict[str, None] = {}
    while len(free) < count:
        macs = ["52:54:00:" + secrets.token_bytes(3).hex(":") for _unused in range(count - len(free))]
        # Of deleted ones too, which can come back.
        cursor.execute(
            """SELECT drawn FROM unnest(%s::text[]) AS drawn WHERE EXISTS (
                   SELECT FROM vm WHERE vm.mac = drawn::macaddr
                   UNION ALL
                   SELECT FROM vm WHERE vm.spec->'networks' @> jsonb_build_array(jsonb_build_object('mac', drawn)))""",
            (macs,),
        )
        taken = {row["drawn"] for row in cursor.fetchall()}
        free |= dict.fromkeys(mac for mac in macs if mac not in taken)
    return list(free)
