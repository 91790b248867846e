# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subnets of the registry: where addresses of VMs come from, and what else interfaces in them have. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import Invalid, VirtfleetError
from .field_reader import FieldReader, shown
from .nic import Nic, read_nics


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet.

    Attributes:
        cidr: like 192.0.2.0/24.
        nic: what an interface in it has besides its address: network or bridge, vlan, gateway, dns and search.
        first, last: addresses that are asked for without naming one are taken from here.
        reserved: these are never taken, and can be asked for by name.
    """

    name: str
    cidr: str
    nic: Nic
    first: str
    last: str
    reserved: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As the registry and results hold it."""
        values = {"name": self.name, "cidr": self.cidr, "first": self.first, "last": self.last}
        return values | self.nic.as_dict() | {"reserved": list(self.reserved)}


def read_subnet(raw: Mapping[str, Any]) -> Subnet:
    """Read a user's variables (name, cidr, network, bridge, vlan, gateway, dns, search, first, last, reserved).

    Raises:
        Invalid: every problem at once.
    """
    reader = FieldReader(raw)
    name = reader.label("name", None)
    network = _network(reader)
    if network is None:
        raise Invalid(reader.problems)
    asked = {key: raw[key] for key in ("network", "bridge", "vlan", "dns", "search") if raw.get(key) is not None}
    (nic,), problems = read_nics([asked])
    reader.problems += [problem.removeprefix("networks: 1: ") for problem in problems]
    gateway = None if raw.get("gateway") is None else _inside(reader, "gateway", network, raw["gateway"])
    first = _inside(reader, "first", network, raw.get("first") or str(network[1]))
    last = _inside(reader, "last", network, raw.get("last") or str(network[-2]))
    reserved = [_inside(reader, "reserved", network, address) for address in reader.value("reserved", ())]
    if first is not None and last is not None and int(first) > int(last):
        reader.problems.append(f"first {first} comes after last {last}")
    if reader.problems:
        raise Invalid(reader.problems)
    if gateway is not None:
        nic = replace(nic, gateway=str(gateway))
    return Subnet(name, str(network), nic, str(first), str(last), tuple(map(str, reserved)))


def _network(reader: FieldReader) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    value = reader.value("cidr", "")
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        reader.problems.append(f"cidr {shown(value)} is not a network like 192.0.2.0/24")
        return None
    if network.num_addresses < 4:
        reader.problems.append(f"cidr {network} has no addresses for hosts")
        return None
    return network


def _inside(
    reader: FieldReader, key: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network, value: Any
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        address = None
    if address is None or address not in network:
        reader.problems.append(f"{key} {shown(value)} is no address of {network}")
        return None
    return address


def connected(nic: Nic, subnet: Subnet, used: Collection[str], gateway: bool) -> Nic:
    """An interface in a subnet, with all that it did not ask for itself, and an address.

    Args:
        used: the addresses that VMs have in it.
        gateway: whether it is the one interface of its VM that has the default gateway.

    Raises:
        Invalid: the address that it asked for is none of the subnet.
        VirtfleetError: no_capacity, when no address is free.
    """
    network = ipaddress.ip_network(subnet.cidr)
    asked = None if nic.ip is None else ipaddress.ip_address(nic.ip)
    if asked is not None and (asked not in network or str(asked) in _never(subnet, ())):
        raise Invalid([f"networks: address {asked} is none for hosts of subnet {subnet.name} ({subnet.cidr})"])
    address = f"{asked or _free(subnet, used)}/{network.prefixlen}"
    theirs = subnet.nic
    return replace(
        nic,
        network=theirs.network,
        bridge=theirs.bridge,
        vlan=theirs.vlan,
        address=address,
        gateway=nic.gateway or (theirs.gateway if gateway else None),
        dns=nic.dns or theirs.dns,
        search=nic.search or theirs.search,
    )


def _never(subnet: Subnet, used: Collection[str]) -> set[str]:
    """The addresses that no VM is given."""
    network = ipaddress.ip_network(subnet.cidr)
    never = {*used, *([subnet.nic.gateway] if subnet.nic.gateway else [])}
    if network.version == 4:
        never |= {str(network.network_address), str(network.broadcast_address)}
    return never


def _free(subnet: Subnet, used: Collection[str]) -> str:
    never = _never(subnet, used) | set(subnet.reserved)
    first, last = ipaddress.ip_address(subnet.first), ipaddress.ip_address(subnet.last)
    # At most so many have to be looked at: of one more than there are taken, one is free.
    for offset in range(min(int(last) - int(first) + 1, len(never) + 1)):
        address = str(first + offset)
        if address not in never:
            return address
    raise VirtfleetError(
        "no_capacity",
        f"Subnet {subnet.name} has no free address from {subnet.first} to {subnet.last}",
        "Give it a larger range or fewer reservations (set_subnet.yml), or delete VMs in it.",
    )
