# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules of nftables a host needs, from the table of who may talk to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from .errors import Invalid

# As nftables calls them: type of a set's elements, and what matches a source and a destination.
FAMILIES = {4: ("ipv4_addr", "ip"), 6: ("ipv6_addr", "ip6")}
KEYS = {"name", "tcp", "udp", "protocol", "to", "from", "networks"}
EVERY_HOST = "all"


@dataclass(frozen=True)
class Site:
    """What is known of all hosts.

    Attributes:
        groups: the hosts of each group.
        addresses: of a host, as a function, since not all hosts are asked for.
        networks: named sources that are no groups of hosts.
        management: the network that all hosts and nobody else are in; with one, it stands for every group.
    """

    groups: Mapping[str, Sequence[str]]
    addresses: Callable[[str], Sequence[str]]
    networks: Mapping[str, Sequence[str]]
    management: Sequence[str] = ()


@dataclass
class Rules:
    """What goes into the table."""

    sets: list[dict[str, Any]] = field(default_factory=list)
    input: list[str] = field(default_factory=list)
    guests: list[str] = field(default_factory=list)


def plan_rules(services: Iterable[Mapping[str, Any]], host: str, site: Site) -> Rules:
    """The rules of one host.

    Raises:
        Invalid: a service has unknown keys, or there is no such network.
    """
    everything = [_checked(service, site) for service in services]
    mine = [service for service in everything if any(_is_in(host, group, site) for group in service["to"])]
    sources = {name: _elements(name, host, site) for service in mine for name in _sources(service, site)}
    rules = Rules()
    for service in mine:
        names = _sources(service, site)
        # Whom everybody reaches needs no list of some.
        names = [name for name in names if _is_everywhere(sources[name])] or names
        for name in names:
            _add_sets(rules, name, sources[name])
            rules.input += _accepts(service, name, sources[name])
    rules.guests = list(_guests(rules, everything, site))
    return rules


def _checked(service: Mapping[str, Any], site: Site) -> Mapping[str, Any]:
    name = service.get("name", "?")
    problems = [f"{name}: {key} is no key of a service" for key in sorted(set(service) - KEYS)]
    problems += [f"{name}: {key} is missing" for key in ("name", "to") if not service.get(key)]
    problems += [
        f"{name}: there is no network {network}, only {', '.join(site.networks)}"
        for network in service.get("networks", [])
        if network not in site.networks
    ]
    if not any(service.get(key) for key in ("tcp", "udp", "protocol")):
        problems.append(f"{name}: one of tcp, udp and protocol is needed")
    if problems:
        raise Invalid(problems, "The firewall's table of services is wrong")
    return service


def _is_in(host: str, group: str, site: Site) -> bool:
    return group == EVERY_HOST or host in site.groups.get(group, ())


def _sources(service: Mapping[str, Any], site: Site) -> list[str]:
    """Names of the sets that a service is reached from."""
    groups = [name for name in service.get("from", []) if name == EVERY_HOST or site.groups.get(name)]
    hosts = ["management"] if site.management and groups else groups
    return [*hosts, *service.get("networks", [])]


def _elements(name: str, host: str, site: Site) -> list[IPv4Network | IPv6Network]:
    if name == "management":
        return _parsed(name, site.management)
    if name in site.networks:
        return _parsed(name, site.networks[name])
    # A host reaches itself by loopback: without it, most files stay the same when it gets another group.
    hosts = {one for group in site.groups.values() for one in group} if name == EVERY_HOST else set(site.groups[name])
    return _parsed(name, [address for one in sorted(hosts - {host}) for address in site.addresses(one)])


def _parsed(name: str, texts: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    found: list[IPv4Network | IPv6Network] = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise Invalid([f"{name}: {error}"], "An address or network of the firewall is wrong") from error
    return _sorted(found)


def _sorted(networks: Iterable[IPv4Network | IPv6Network]) -> list[IPv4Network | IPv6Network]:
    return sorted(set(networks), key=lambda network: (network.version, network))


def _of_version(elements: Iterable[IPv4Network | IPv6Network], version: int) -> list[IPv4Network | IPv6Network]:
    return [element for element in elements if element.version == version]


def _is_everywhere(elements: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(element.prefixlen == 0 for element in elements)


def _add_sets(rules: Rules, name: str, elements: Sequence[IPv4Network | IPv6Network]) -> None:
    for version, (kind, _header) in FAMILIES.items():
        mine = _of_version(elements, version)
        words = [str(one.network_address if one.num_addresses == 1 else one) for one in mine]
        new = {"name": _set(name, version), "type": kind, "elements": words}
        if mine and not _is_everywhere(mine) and new not in rules.sets:
            rules.sets.append(new)


def _set(name: str, version: int) -> str:
    return f"{name.replace('-', '_')}_v{version}"


def _accepts(service: Mapping[str, Any], source: str, elements: Iterable[IPv4Network | IPv6Network]) -> Iterator[str]:
    matches = []
    for version, (_type, header) in FAMILIES.items():
        mine = _of_version(elements, version)
        if _is_everywhere(mine):
            matches.append(f"meta nfproto ipv{version} ")
        elif mine:
            matches.append(f"{header} saddr @{_set(source, version)} ")
    if all(match.startswith("meta") for match in matches) and len(matches) == len(FAMILIES):
        matches = [""]
    for match in matches:
        for what in _whats(service):
            yield f'{match}{what} accept comment "{service["name"]}"'


def _whats(service: Mapping[str, Any]) -> Iterator[str]:
    for transport in ("tcp", "udp"):
        if ports := service.get(transport):
            yield f"{transport} dport {{ {', '.join(map(str, ports))} }}"
    if protocol := service.get("protocol"):
        yield f"meta l4proto {protocol}"


def _guests(rules: Rules, services: Sequence[Mapping[str, Any]], site: Site) -> Iterator[str]:
    """What guests may not reach on our hosts: behind NAT they come with the address of their node, which may."""
    hidden = [
        service
        for service in services
        if not any(_is_open(site.networks[name]) for name in service.get("networks", []))
    ]
    destination = "management" if site.management else EVERY_HOST
    # A host may have Ceph's traffic at another address, in the network of the storage.
    storage = _parsed("storage", site.networks.get("storage", ()))
    elements = _sorted([*_elements(destination, "", site), *storage])
    _add_sets(rules, f"{destination}-hosts", elements)
    for version, (_type, header) in FAMILIES.items():
        if not _of_version(elements, version):
            continue
        name = _set(f"{destination}-hosts", version)
        for transport in ("tcp", "udp"):
            if ports := sorted({str(port) for service in hidden for port in service.get(transport, [])}):
                yield f"{header} daddr @{name} {transport} dport {{ {', '.join(ports)} }} drop"


def _is_open(texts: Sequence[str]) -> bool:
    return _is_everywhere(_parsed("networks", texts))
