# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with one host, by what it told and what the inventory wants of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from .preflight_finding import ERROR, WARNING, Finding

DISTRIBUTION = "debian"
RELEASES = ("12", "13")
MANAGER_RELEASE = 13
MIB = 1024**2
OSD_MEMORY = 4 * 1024 * MIB
# Ceph's monitors complain from 0.05 s on, which cannot be measured from here; beyond 30 s certificates and logins fail.
SECONDS_WRONG = 30
SECONDS_ODD = 2
LEAST_GIB = 1
# In the place of a group, for what is on each host.
ALL = "all"


@dataclass(frozen=True)
class Port:
    """A TCP port that a group serves on, and the processes of ours that may have it already."""

    group: str
    port: int
    processes: frozenset[str]
    where: str


# Some are served only where there are several databases, or a dashboard.
EVERYWHERE, CLUSTER, DASHBOARD = "", "cluster", "dashboard"


def _ports(group: str, processes: Collection[str], *ports: int, where: str = EVERYWHERE) -> tuple[Port, ...]:
    # The kernel keeps 15 characters of a process' name; systemd has the sockets of what is started when it is needed.
    names = frozenset({process[:15] for process in processes} | {"systemd"})
    return tuple(Port(group, port, names, where) for port in ports)


PORTS = (
    *_ports(ALL, ["prometheus-node-exporter"], 9100),
    *_ports("ceph_mon", ["ceph-mon"], 3300, 6789),
    *_ports("ceph_mgr", ["ceph-mgr"], 9283),
    *_ports("ceph_mgr", ["ceph-mgr"], 8080, where=DASHBOARD),
    *_ports("virtualization", ["libvirtd", "virtproxyd"], 16514),
    *_ports("virtualization", ["prometheus-libvirt-exporter"], 9177),
    *_ports("database", ["postgres"], 5432),
    *_ports("database", ["patroni", "python3"], 8008, where=CLUSTER),
    *_ports("database", ["etcd"], 2379, 2380, 2381, where=CLUSTER),
    *_ports("database", ["redis-server"], 6379),
    *_ports("database", ["redis-sentinel", "redis-server"], 26379, where=CLUSTER),
    *_ports("database", ["prometheus-postgres-exporter"], 9187),
    *_ports("database", ["prometheus-redis-exporter"], 9121),
    *_ports("internal_haproxy", ["haproxy"], 5432, 6379, 8443, 9283, 8404),
    *_ports("external_haproxy", ["haproxy"], 80, 443, 8404),
    *_ports("monitoring", ["prometheus"], 9090),
    *_ports("monitoring", ["prometheus-alertmanager", "alertmanager"], 9093),
    *_ports("monitoring", ["grafana", "grafana-server"], 3000),
)

# What a host needs at least for each of its groups: MiB of memory, GiB that are free below /var.
NEEDS = {
    "ceph_mon": (1024, 5),
    "ceph_mgr": (512, 1),
    "ceph_osd": (512, 1),
    "virtualization": (512, 5),
    "database": (1024, 5),
    "internal_haproxy": (256, 1),
    "external_haproxy": (256, 1),
    "monitoring": (1024, 5),
    "awx": (4096, 20),
    "manager": (512, 1),
}
SYSTEM_MIB = 512
# The part of site.yml that wants all monitors of the inventory.
STORAGE_TAG = "ceph"


def host_findings(
    host: str, groups: Collection[str], told: Mapping[str, Any], wanted: Mapping[str, Any], databases: int = 1
) -> list[Finding]:
    """All that is wrong with a host.

    Args:
        host: its inventory name.
        groups: those of ours that it is in.
        told: the result of module preflight_info, whatever became of it.
        wanted: its variables.
        databases: how many database hosts there are.
    """
    if told.get("unreachable"):
        return [_away(host, groups, told, wanted)]
    if "host" not in told:
        hint = "It needs python3 (apt-get install python3), and a user who is root or becomes it."
        return [Finding(host, ERROR, "python", f"cannot be asked: {_short(told)}", hint)]
    seen = told["host"]
    return [
        *_system(host, groups, seen),
        *_clock(host, told),
        *_room(host, groups, seen, wanted),
        *_devices(host, groups, seen, wanted),
        *_listeners(host, groups, seen, _served(wanted, databases)),
        *_network(host, groups, seen, wanted),
    ]


def _away(host: str, groups: Collection[str], told: Mapping[str, Any], wanted: Mapping[str, Any]) -> Finding:
    said = f"cannot be reached: {_short(told)}"
    if "ceph_mon" in groups and _does_storage(wanted):
        hint = (
            "Ceph's part needs all monitors: start it, correct ansible_host and the key, take it out of group ceph_mon,"
            f" or run the rest by --skip-tags {STORAGE_TAG}."
        )
        return Finding(host, ERROR, "reach", said, hint)
    hint = "Start it, or correct ansible_host and the key. The others go on without it; run again when it is back."
    return Finding(host, WARNING, "reach", said, hint)


def _does_storage(wanted: Mapping[str, Any]) -> bool:
    """Whether this run comes to Ceph's part, by the tags that Ansible tells of it."""
    run, skipped = wanted.get("ansible_run_tags") or ["all"], wanted.get("ansible_skip_tags") or []
    return ("all" in run or STORAGE_TAG in run) and STORAGE_TAG not in skipped


def _short(told: Mapping[str, Any]) -> str:
    # Without Python the message of the shell says more than Ansible's.
    text = " ".join(str(told.get("module_stderr") or told.get("msg") or "no reason was told").split())
    text = text.rpartition("over ssh: ")[2]
    return text if len(text) <= 120 else text[:117] + "..."


def _system(host: str, groups: Collection[str], seen: Mapping[str, Any]) -> Iterator[Finding]:
    if seen["distribution"] != DISTRIBUTION or seen["release"] not in RELEASES:
        yield Finding(
            host, ERROR, "release", f"runs {seen['distribution']} {seen['release']}", "The roles know Debian 12 and 13."
        )
    elif "manager" in groups and int(seen["release"]) < MANAGER_RELEASE:
        yield Finding(
            host, WARNING, "release", "is a manager on Debian 12, whose ansible-core is too old for its timers",
            "Put a Debian 13 host into group manager.",
        )  # fmt: skip
    if not seen["is_root"]:
        yield Finding(
            host, ERROR, "root", "is not acted on as root", "Set ansible_user: root, or ansible_become: true."
        )
    if not seen["knows_its_name"]:
        yield Finding(
            host, WARNING, "names", f"does not resolve its own name {seen['hostname']}", "Add it to its /etc/hosts."
        )


def _clock(host: str, told: Mapping[str, Any]) -> Iterator[Finding]:
    apart = max(abs(told["seconds_apart"]) - told["seconds_unsure"], 0)
    hint = "Run a time service on both (apt-get install systemd-timesyncd)."
    if apart > SECONDS_ODD:
        direction = "ahead of" if told["seconds_apart"] > 0 else "behind"
        level = ERROR if apart > SECONDS_WRONG else WARNING
        yield Finding(host, level, "time", f"its clock is {apart:.0f} s {direction} the controller's", hint)
    elif told["host"]["clock_is_set"] is False:
        yield Finding(host, WARNING, "time", "its clock is set by no time service", hint.replace("both", "it"))


def _room(host: str, groups: Collection[str], seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Finding]:
    memory = SYSTEM_MIB + sum(NEEDS[group][0] for group in groups) + _for_daemons_and_guests(groups, wanted)
    if groups and seen["memory_mib"] < memory:
        yield Finding(
            host, WARNING, "memory", f"has {seen['memory_mib']} MiB of memory, its groups want {memory} MiB",
            "Lower libvirt_node_memory_mib or ceph_osd_memory_target, or spread the groups over more hosts.",
        )  # fmt: skip
    room = sum(NEEDS[group][1] for group in groups)
    for path, free in seen["free_gib"].items():
        if free < room:
            level = ERROR if free < LEAST_GIB else WARNING
            yield Finding(
                host, level, "room", f"{free} GiB are free below {path}, its groups want {room} GiB", "Free some."
            )


def _for_daemons_and_guests(groups: Collection[str], wanted: Mapping[str, Any]) -> int:
    devices = len(wanted.get("ceph_osd_devices") or []) if "ceph_osd" in groups else 0
    osds = devices * int(wanted.get("ceph_osd_memory_target") or OSD_MEMORY) // MIB
    guests = int(wanted.get("libvirt_node_memory_mib") or 0) if "virtualization" in groups else 0
    return osds + guests


def _devices(
    host: str, groups: Collection[str], seen: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[Finding]:
    if "ceph_osd" not in groups:
        return
    if not wanted.get("ceph_osd_devices"):
        yield Finding(host, WARNING, "disks", "is in group ceph_osd without a device", "Set ceph_osd_devices for it.")
    ours = {"ceph_bluestore", "LVM2_member"} if seen["has_ceph"] else set()
    wiped = wanted.get("ceph_osd_wipe_devices") or []
    for device, found in seen["devices"].items():
        data = set(found["signatures"]) - ours
        if not found["is_block"]:
            yield Finding(host, ERROR, "disks", f"{device} is no block device", "Correct its name in ceph_osd_devices.")
        elif data == {"ceph_bluestore"} and device not in wiped:
            yield Finding(
                host, WARNING, "disks", f"{device} is an OSD already",
                "It goes on if it is this cluster's, and is refused later if not; 'wipefs --all' makes it a new one.",
            )  # fmt: skip
        elif data and device not in wiped:
            yield Finding(
                host, ERROR, "disks", f"{device} holds data ({', '.join(sorted(data))})",
                "Take it out of ceph_osd_devices, or name it in ceph_osd_wipe_devices to lose what is on it.",
            )  # fmt: skip


def _served(wanted: Mapping[str, Any], databases: int) -> set[str]:
    """Where ports are served."""
    there = {EVERYWHERE: True, CLUSTER: databases > 1, DASHBOARD: DASHBOARD in (wanted.get("ceph_mgr_modules") or [])}
    return {where for where, is_there in there.items() if is_there}


def _listeners(
    host: str, groups: Collection[str], seen: Mapping[str, Any], served: Collection[str]
) -> Iterator[Finding]:
    ports = [entry for entry in PORTS if entry.group in {*groups, ALL} and entry.where in served]
    for listener in seen["listeners"]:
        entries = [entry for entry in ports if entry.port == listener["port"]]
        ours = {process for entry in entries for process in entry.processes}
        if entries and listener["process"] not in ours:
            group = entries[0].group
            hint = (
                "Each host has ours there: stop that."
                if group == ALL
                else f"Stop that, or take the host out of group {group}."
            )
            yield Finding(host, ERROR, "ports", f"port {listener['port']} is taken by {listener['process']}", hint)


def _network(
    host: str, groups: Collection[str], seen: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[Finding]:
    network = str(wanted.get("ceph_public_network") or "")
    storage = {"ceph_mon", "ceph_mgr", "ceph_osd"} & set(groups)
    if not storage or not network:
        return
    there = [address for address in seen["addresses"] if _is_in([address], network)]
    monitor = wanted.get("ceph_mon_address") or seen["default_address"]
    if not there:
        yield Finding(
            host, ERROR, "network", f"has no address in ceph_public_network {network}",
            "Correct ceph_public_network, or give the host an address there.",
        )  # fmt: skip
    elif "ceph_mon" in groups and monitor not in there:
        said = f"would have its monitor at {monitor or 'no address'}, not in ceph_public_network {network}"
        yield Finding(host, ERROR, "network", said, f"Set ceph_mon_address of the host to {' or '.join(there)}.")


def _is_in(addresses: Collection[str], network: str) -> bool:
    try:
        return any(ip_address(address) in ip_network(network) for address in addresses)
    except ValueError:
        # That it is no network is said once for all hosts.
        return True
