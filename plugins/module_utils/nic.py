# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network interfaces of a VM: what they are connected to, and how the guest is to set them up. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Invalid
from .field_reader import FieldReader, shown

MOST = 8
AUTO = "auto"
VLANS = (1, 4094)

_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}")
_BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")  # as long as Linux lets an interface's name be
# Lower case as libvirt writes it; an odd first byte would be a multicast address.
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface of a VM.

    Attributes:
        network: the libvirt network that it is connected to. Without it and without a bridge it is what role libvirt
            set up on the node.
        bridge: the bridge of the node that it is connected to.
        vlan: the tag of the VLAN that the bridge puts it into.
        mac: None until one is reserved.
        address: static, with its prefix length, like 192.0.2.5/24; None is DHCP, or in a subnet any that is free.
        gateway: the way to everything else, with a static address.
        dns: addresses of name servers.
        search: domains that the guest's resolver completes names with.
        subnet: the registry's subnet that all this comes from, as far as it is not given; see module subnet.
    """

    network: str | None = None
    bridge: str | None = None
    vlan: int | None = None
    mac: str | None = None
    address: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    subnet: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As results, the registry and module parameters hold it, without what was not asked for."""
        values = {field: getattr(self, field) for field in self.__slots__}
        return {
            field: list(value) if isinstance(value, tuple) else value
            for field, value in values.items()
            if value not in (None, ())
        }

    @property
    def link(self) -> tuple[str, str] | None:
        """Kind and name of what it is connected to; None is what the node has by default."""
        if self.bridge is not None:
            return "bridge", self.bridge
        return None if self.network is None else ("network", self.network)

    @property
    def ip(self) -> str | None:
        """Its static address without the prefix length."""
        return None if self.address is None else str(ipaddress.ip_interface(self.address).ip)


def read_nics(raw: Any) -> tuple[tuple[Nic, ...], list[str]]:
    """Read a list of network interfaces.

    Returns:
        The interfaces, which are fit for use only without problems, and every problem found.
    """
    if not isinstance(raw, (list, tuple)) or not all(isinstance(nic, Mapping) for nic in raw):
        return (), [f"networks is not a list of mappings ({', '.join(Nic.__slots__)})"]
    problems: list[str] = []
    nics = []
    for number, fields in enumerate(raw, start=1):
        reader = _Reader(fields)
        nics.append(reader.nic())
        problems += [f"networks: {number}: {problem}" for problem in reader.problems]
    if len(nics) > MOST:
        problems.append(f"networks has {len(nics)} entries, more than {MOST}")
    if sum(nic.gateway is not None for nic in nics) > 1:
        problems.append("networks: more than one has a gateway")
    for what, values in (("mac", [nic.mac for nic in nics]), ("address", [nic.ip for nic in nics])):
        twice = sorted({value for value in values if value is not None and values.count(value) > 1})
        problems += [f"networks: {what} {value} is there twice" for value in twice]
    return tuple(nics), problems


def parse_nics(raw: Any) -> tuple[Nic, ...]:
    """Read a list of network interfaces by itself.

    Raises:
        Invalid: with every problem found.
    """
    nics, problems = read_nics(raw)
    if problems:
        raise Invalid(problems)
    return nics


class _Reader(FieldReader):
    """Reads the fields of one interface."""

    def nic(self) -> Nic:
        self.problems += [f"there is no {key}" for key in sorted(set(self.raw) - set(Nic.__slots__))]
        if self.raw.get("network") is not None and self.raw.get("bridge") is not None:
            self.problems.append("network and bridge are two ways to say it; give one")
        interface = self._interface()
        return Nic(
            network=self.matching("network", _NETWORK, "the name of a libvirt network"),
            bridge=self.matching("bridge", _BRIDGE, "the name of a bridge"),
            vlan=self._vlan(),
            mac=self._mac(),
            address=None if interface is None else str(interface),
            gateway=self._gateway(interface),
            dns=self._addresses("dns"),
            search=self.strings("search", _DOMAIN, "a domain"),
            subnet=None if self.raw.get("subnet") is None else self.label("subnet", None),
        )

    def _vlan(self) -> int | None:
        if self.raw.get("vlan") is None:
            return None
        if self.raw.get("bridge") is None:
            self.problems.append("vlan needs a bridge")
        return self.count("vlan", VLANS[0], VLANS)

    def _mac(self) -> str | None:
        value = self.raw.get("mac")
        if value is None:
            return None
        mac = str(value).lower()
        if not _MAC.fullmatch(mac):
            self.problems.append(f"mac {shown(value)} is not the MAC address of one interface, like 52:54:00:12:34:56")
        return mac

    def _interface(self) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
        value = self.raw.get("address")
        if value is None or (value == AUTO and self.raw.get("subnet") is not None):
            return None
        if value == AUTO:
            self.problems.append("address auto needs a subnet")
            return None
        try:
            # A subnet has the prefix length.
            whole = "/" in str(value) or self.raw.get("subnet") is not None
            interface = ipaddress.ip_interface(value if isinstance(value, str) and whole else "")
        except ValueError:
            self.problems.append(f"address {shown(value)} is not an address with its prefix length, like 192.0.2.5/24")
            return None
        if interface.ip in _not_for_hosts(interface.network):
            self.problems.append(f"address {value} is that of the network itself")
        return interface

    def _gateway(self, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface | None) -> str | None:
        value = self.raw.get("gateway")
        if value is None:
            return None
        if self.raw.get("address") is None:
            self.problems.append("gateway needs an address: by DHCP the network gives it")
        gateway = self._address("gateway", value)
        if gateway is not None and interface is not None:
            if gateway not in interface.network or gateway == interface.ip:
                self.problems.append(f"gateway {value} is no other address of {interface.network}")
        return None if gateway is None else str(gateway)

    def _addresses(self, key: str) -> tuple[str, ...]:
        value = self.value(key, ())
        items: Sequence[Any] = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            self.problems.append(f"{key} is not a list")
            return ()
        found = (self._address(key, item) for item in items)
        return tuple(str(address) for address in found if address is not None)

    def _address(self, key: str, value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        try:
            return ipaddress.ip_address(value if isinstance(value, str) else "")
        except ValueError:
            self.problems.append(f"{key} {shown(value)} is not an IP address")
            return None


def _not_for_hosts(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """The addresses of a network that mean the network, or all of its hosts."""
    if network.version == 6 or network.prefixlen >= network.max_prefixlen - 1:
        return ()
    return network.network_address, network.broadcast_address
