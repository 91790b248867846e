# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an inventory, before any host is looked at."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from .preflight_finding import ERROR, GROUPS, INVENTORY, WARNING, Finding

# Ansible's own.
OTHER_GROUPS = {"all", "ungrouped"}
REGISTRY = ("registry_host", "registry_ca_file", "registry_password", "registry_reader_password")
# Variables without which a group cannot be deployed.
REQUIRED = {
    "database": (*REGISTRY, "registry_redis_host", "registry_redis_password", "postgresql_exporter_password",
                 "redis_exporter_password"),
    "virtualization": REGISTRY,
    "manager": REGISTRY,
    "ceph_mon": ("ceph_public_network",),
    "external_haproxy": ("haproxy_password",),
    "monitoring": ("grafana_admin_password",),
    "awx": ("awx_admin_password", "awx_secret_key", "awx_database_password", "awx_operator_manifest",
            "awx_operator_checksum"),
}  # fmt: skip
# Several databases are a cluster, which has passwords of its own.
CLUSTER = ("postgresql_superuser_password", "postgresql_replication_password", "redis_replication_password",
           "redis_sentinel_password")  # fmt: skip
STORAGE = ("ceph_mon", "ceph_mgr", "ceph_osd", "virtualization")
PROXIES = ("internal_haproxy", "external_haproxy")
# Where AWX is not brought onto a Kubernetes that is there.
KUBERNETES = ("awx_k3s_url", "awx_k3s_checksum")
# What a role's own variable may say in their place.
INSTEAD = {
    ("database", "postgresql_exporter_password"): "exporters_postgresql_password",
    ("database", "redis_exporter_password"): "exporters_redis_password",
    ("internal_haproxy", "redis_exporter_password"): "haproxy_redis_password",
    ("internal_haproxy", "keepalived_password"): "haproxy_shared_password",
    ("external_haproxy", "keepalived_password"): "haproxy_shared_password",
}
# Statements of SQL name them without quotes.
PLAIN_NAMES = ("registry_user", "registry_reader_user")
SECRET_ENDINGS = ("_password", "_key")
# What files cannot hold that have no way to quote it: Sentinel's, which it writes itself, and keepalived's.
SPECIAL = {
    "redis_replication_password": r"[\s\"']",
    "redis_sentinel_password": r"[\s\"']",
    "keepalived_password": r"[\s\"'#!]",
}
# Where services listen, by the groups of their hosts. Others reach them by ansible_host.
ADDRESSES = {
    "etcd_address": ("database",),
    "redis_address": ("database",),
    "postgresql_address": ("database",),
    "haproxy_address": PROXIES,
    "prometheus_address": ("monitoring",),
    "grafana_address": ("monitoring",),
    "exporters_address": GROUPS,
}
SIMILAR = 0.8
# What a proxy may be told to listen on that is no address to connect to.
EVERYWHERE = {"*", "0.0.0.0", "::"}

Groups = Mapping[str, Sequence[str]]
Variables = Mapping[str, Mapping[str, Any]]


def inventory_findings(groups: Groups, variables: Variables, told: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """All that is wrong.

    Args:
        groups: all of them, with their hosts.
        variables: those of every host that is in a group of ours.
        told: what hosts told, by their names.
    """
    # Two names of one machine are said once.
    apart = {host: told[host] for host in {address_of(host, variables): host for host in told}.values()}
    return [
        *_groups(groups),
        *_sizes(groups, variables),
        *_required(groups, variables),
        *_special(variables),
        *_directories(variables),
        *_registry(groups, variables),
        *_proxies(groups, variables),
        *_addresses(groups, variables),
        *_networks(variables),
        *_releases(groups, told),
        *_twins("address", {host: address_of(host, variables) for host in variables}),
        *_twins("hostname", {host: str(seen["hostname"]) for host, seen in apart.items()}),
        *_twins("machine_id", {host: str(seen["machine_id"]) for host, seen in apart.items() if seen["machine_id"]}),
    ]


def address_of(host: str, variables: Variables) -> str:
    """Where others reach a host."""
    return str(variables[host].get("ansible_host") or host)


def _members(groups: Groups, group: str) -> Sequence[str]:
    return groups.get(group) or []


def _groups(groups: Groups) -> Iterator[Finding]:
    for name in sorted(set(groups) - set(GROUPS) - OTHER_GROUPS):
        if near := difflib.get_close_matches(name, GROUPS, 1, SIMILAR):
            hint = f"Did you mean {near[0]}?"
            yield Finding(INVENTORY, WARNING, "groups", f"group {name} is none that a role knows", hint)
    ours = {host for name in GROUPS for host in _members(groups, name)}
    for host in sorted(set(_members(groups, "ungrouped")) - ours - {"localhost"}):
        hint = f"Put it into one of {', '.join(GROUPS)}."
        yield Finding(host, WARNING, "groups", "is in no group, so little is done to it", hint)
    if not ours:
        hint = "Give an inventory with -i; inventories/example shows one."
        yield Finding(INVENTORY, ERROR, "groups", "no host is in a group that a role knows", hint)


def _sizes(groups: Groups, variables: Variables) -> Iterator[Finding]:
    databases, monitors = len(_members(groups, "database")), len(_members(groups, "ceph_mon"))
    if databases and databases % 2 == 0:
        hint = "Make it 1, or 3: of an even number one more can be lost as well."
        yield Finding(
            INVENTORY, ERROR, "sizes", f"group database has {databases} hosts, which have no majority alone", hint
        )
    if monitors and monitors % 2 == 0:
        yield Finding(
            INVENTORY,
            WARNING,
            "sizes",
            f"group ceph_mon has {monitors} hosts",
            "Of an odd number as many can be lost: 3 or 5.",
        )
    if monitors and not _members(groups, "ceph_mgr"):
        yield Finding(INVENTORY, ERROR, "sizes", "group ceph_mgr is empty", "Put a host or two of ceph_mon into it.")
    if _members(groups, "ceph_osd") and not monitors:
        yield Finding(
            INVENTORY, ERROR, "sizes", "there are OSDs and no monitors", "Put 1, 3 or 5 hosts into group ceph_mon."
        )
    if nodes := [host for host in _members(groups, "virtualization") if not variables[host].get("ceph_external")]:
        if not monitors:
            hint = "Put 1, 3 or 5 hosts into group ceph_mon, or set ceph_external for a cluster of others."
            yield Finding(nodes[0], ERROR, "sizes", "a node needs Ceph, and there are no monitors", hint)
    stores = _members(groups, "ceph_osd")
    wanted = int(variables[stores[0]].get("ceph_pool_size") or 3) if stores else 0
    if len(stores) < wanted:
        hint = f"Add hosts, or set ceph_pool_size to {len(stores)}."
        yield Finding(INVENTORY, WARNING, "sizes", f"{wanted} copies are wanted of {len(stores)} hosts with OSDs", hint)
    if databases > 1 and not _members(groups, "internal_haproxy"):
        hint = "Put a host into group internal_haproxy and its address into registry_host."
        yield Finding(INVENTORY, ERROR, "sizes", f"{databases} databases have no proxy that finds the primary", hint)


def _required(groups: Groups, variables: Variables) -> Iterator[Finding]:
    missing: dict[str, set[str]] = defaultdict(set)
    is_cluster = len(_members(groups, "database")) > 1
    for group in GROUPS:
        for host in _members(groups, group):
            mine = variables[host]
            for name in _needed(group, mine, is_cluster):
                if not mine.get(name) and not mine.get(INSTEAD.get((group, name), name)):
                    missing[name].add(group)
    for name, where in sorted(missing.items()):
        secret = name.endswith(SECRET_ENDINGS)
        hint = "Run make_secrets.yml, or bring your own." if secret else "Set it in group_vars/all."
        yield Finding(INVENTORY, ERROR, "variables", f"{name} is not set, needed by {', '.join(sorted(where))}", hint)


def _special(variables: Variables) -> Iterator[Finding]:
    """What cannot be written where it is needed."""
    for name in PLAIN_NAMES:
        for value in {str(mine[name]) for mine in variables.values() if mine.get(name)}:
            if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
                hint = "Choose one of small letters, digits and _, not beginning with a digit."
                yield Finding(INVENTORY, ERROR, "variables", f"{name} is {value}", hint)
    for name, special in SPECIAL.items():
        if any(re.search(special, str(mine.get(name) or "")) for mine in variables.values()):
            said, hint = f"{name} has a space, a quote or the like", "Choose one of letters, digits and - . _ for it."
            yield Finding(INVENTORY, ERROR, "variables", said, hint)


def _directories(variables: Variables) -> Iterator[Finding]:
    beside = sorted(
        {str(mine.get("inventory_dir") or "") for mine in variables.values() if not mine.get("pki_directory")}
    )
    if len(beside) > 1:
        said = f"hosts are of several inventories: {', '.join(beside)}"
        hint = (
            "Put them into one, as each would have a CA of its own; or set pki_directory and registry_ca_file for all."
        )
        yield Finding(INVENTORY, ERROR, "variables", said, hint)


def _needed(group: str, mine: Mapping[str, Any], is_cluster: bool) -> Iterator[str]:
    """The variables that a host needs for one of its groups."""
    yield from REQUIRED.get(group, ())
    if group == "database" and is_cluster:
        yield from CLUSTER
    if group == "internal_haproxy" and is_cluster:
        yield "redis_exporter_password"
    if group in PROXIES and mine.get("haproxy_shared_address"):
        yield "keepalived_password"
    if group in STORAGE and "dashboard" in (mine.get("ceph_mgr_modules") or []) and not mine.get("ceph_external"):
        yield "ceph_dashboard_password"
    if group == "awx" and not mine.get("awx_kubeconfig"):
        yield from KUBERNETES


def _registry(groups: Groups, variables: Variables) -> Iterator[Finding]:
    databases = _members(groups, "database")
    if not databases:
        return
    proxies = _members(groups, "internal_haproxy")
    serving = proxies if len(databases) > 1 else [*databases, *proxies]
    places = {place for host in serving for place in (host, address_of(host, variables))}
    for host in proxies:
        mine = variables[host]
        served = [*(mine.get("haproxy_internal_addresses") or []), mine.get("haproxy_shared_address")]
        places |= {str(place) for place in served if place} - EVERYWHERE
    for name in ("registry_host", "registry_redis_host"):
        value = str(variables[databases[0]].get(name) or "")
        # A name may be another one for the same host, which only a resolver knows.
        if value and value not in places and _is(ip_address, value):
            what = "group internal_haproxy" if len(databases) > 1 else "group database"
            addresses = sorted(place for place in places if _is(ip_address, place))
            hint = f"Set it to {' or '.join(addresses) or 'its address'}."
            yield Finding(INVENTORY, ERROR, "variables", f"{name} is {value}, which is no host of {what}", hint)


def _proxies(groups: Groups, variables: Variables) -> Iterator[Finding]:
    for host in _members(groups, "internal_haproxy"):
        address = address_of(host, variables)
        served = variables[host].get("haproxy_internal_addresses") or [address]
        for group in ("database", "ceph_mgr"):
            if host in _members(groups, group) and ({address} | EVERYWHERE) & set(served):
                said = f"is in internal_haproxy and in {group}, which want the same ports"
                hint = "Have another host be the proxy, or set haproxy_internal_addresses to another address of it."
                yield Finding(host, ERROR, "ports", said, hint)


def _addresses(groups: Groups, variables: Variables) -> Iterator[Finding]:
    for host, mine in variables.items():
        address = address_of(host, variables)
        if _is(IPv6Address, address):
            hint = "Set ansible_host to an IPv4 address of it."
            yield Finding(host, ERROR, "network", f"is reached by {address}, in IPv6", hint)
        elif not _is(IPv4Address, address):
            # Debian writes a host's own name into its /etc/hosts as 127.0.1.1; and sshd compares addresses only.
            said = f"is reached by the name {address}, by which its services cannot listen"
            yield Finding(host, ERROR, "network", said, "Set ansible_host to its address.")
        for name, where in ADDRESSES.items():
            served = mine.get(name) or address
            if served not in (address, "0.0.0.0") and any(host in _members(groups, group) for group in where):
                said = f"{name} is {mine[name]}, and others reach the host by {address}"
                yield Finding(host, ERROR, "variables", said, f"Take it out, or set ansible_host to {mine[name]}.")


def _releases(groups: Groups, told: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    releases = {host: str(told[host]["release"]) for host in _members(groups, "database") if host in told}
    if len(set(releases.values())) > 1:
        said = ", ".join(f"{host} runs Debian {release}" for host, release in releases.items())
        hint = "Standbys need the same PostgreSQL as the primary: install the same release on all."
        yield Finding(INVENTORY, ERROR, "release", said, hint)


def _networks(variables: Variables) -> Iterator[Finding]:
    wrong: set[str] = set()
    for host, mine in variables.items():
        management = [str(text) for text in mine.get("firewall_management_network") or []]
        lists = {"firewall_management_network": management}
        lists |= {
            name: [str(mine[name])] for name in ("ceph_public_network", "libvirt_network_subnet") if mine.get(name)
        }
        wrong |= {f"{name}: {text}" for name, texts in lists.items() for text in texts if not _is(ip_network, text)}
        address = address_of(host, variables)
        if not _is(ip_address, address) or wrong:
            continue
        if management and not any(ip_address(address) in ip_network(text) for text in management):
            hint = "Add its network, or correct ansible_host: the others would not let it in."
            yield Finding(host, ERROR, "network", f"{address} is not in firewall_management_network", hint)
        if any(ip_address(address) in ip_network(text) for text in lists.get("libvirt_network_subnet", [])):
            hint = "Set libvirt_network_subnet to a network that nobody uses."
            yield Finding(host, ERROR, "network", f"{address} is in the network of the guests", hint)
    for text in sorted(wrong):
        yield Finding(INVENTORY, ERROR, "network", f"{text} is no network", "Write it like 10.0.0.0/24.")


def _is(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _twins(what: str, values: Mapping[str, str]) -> Iterator[Finding]:
    hosts: dict[str, list[str]] = defaultdict(list)
    for host, value in values.items():
        hosts[value].append(host)
    words = {
        "address": (ERROR, "have the address", "One machine has one name in the inventory: correct ansible_host."),
        "hostname": (ERROR, "are both called", "Ceph and libvirt tell hosts apart by that: hostnamectl set-hostname."),
        "machine_id": (
            WARNING,
            "have the machine id",
            "They are copies: rm /etc/machine-id; systemd-machine-id-setup; and reboot.",
        ),
    }
    level, said, hint = words[what]
    for value, twins in hosts.items():
        if len(twins) > 1:
            yield Finding(twins[0], level, "names", f"{' and '.join(sorted(twins))} {said} {value}", hint)
