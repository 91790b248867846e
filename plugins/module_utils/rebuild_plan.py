# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that have a domain of ours and that the registry does not have, and what is known of them. Pure.

Sizes, interfaces and disks are as the domain and its volumes are; what these do not show (tags, labels, addresses, the
seed) is in the record that is kept with the root volume. One from before there were records is read without.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .seen import Domain, Seen
from .spec import VmSpec, read_request

RECORD_VERSION = 1
# What of a row's spec no request holds.
RECORDED = ("user_data_sha256", "source", "seed_generation", "copied")


@dataclass(frozen=True, slots=True)
class Lost:
    """A VM that the registry does not have.

    Attributes:
        node: the node that it is on.
        detail: what it is, or why it cannot be recorded, for people.
        wanted: what its row is made from; None where a person has to look.
        kept: what else its row's spec gets.
    """

    name: str
    id: str
    node: str
    detail: str
    wanted: VmSpec | None = None
    state: str = ""
    ip: str | None = None
    created_at: str | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry has.

    Attributes:
        rows: the VMs that are not deleted: id, name, mac and spec.
        deleted: the ids of those that are.
        nodes: the names of the nodes; None where nothing is going to be recorded.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    deleted: Collection[str] = ()
    nodes: Collection[str] | None = None


def lost(known: Known, seen: Seen) -> list[Lost]:
    """Every VM that has a domain and no row, by name. Of those that want the same name or MAC the first one gets it."""
    there = {row["id"] for row in known.rows}
    by_id: dict[str, list[Domain]] = {}
    for domain in sorted(seen.domains, key=lambda domain: (domain.name, domain.node)):
        if domain.id not in there:
            by_id.setdefault(domain.id, []).append(domain)
    names = {row["name"]: row["id"] for row in known.rows}
    macs = {mac: row["name"] for row in known.rows for mac in _macs(row)}
    found = []
    for domains in by_id.values():
        one = _lost(domains, known, seen)
        if one.wanted is not None:
            one = _unless_taken(one, one.wanted, names, macs)
        if one.wanted is not None:
            names[one.name] = one.id
            macs |= dict.fromkeys(_macs_of(one.wanted), one.name)
        found.append(one)
    return found


def _macs(row: Mapping[str, Any]) -> list[str]:
    return [nic["mac"] for nic in row["spec"].get("networks", [{"mac": row["mac"]}])]


def _macs_of(spec: VmSpec) -> list[str]:
    return [nic.mac for nic in spec.nics if nic.mac]


def _lost(domains: Sequence[Domain], known: Known, seen: Seen) -> Lost:
    """What is known of a VM that is lost, by its domains."""
    first = domains[0]
    details = first.details
    node, problem = _owner(domains, details or {}, seen)
    if details is None or known.nodes is None:
        return Lost(first.name, first.id, node, "")
    if first.id in known.deleted:
        problem = "it was deleted"
    elif not problem and node not in known.nodes:
        problem = f"node {node} is not registered (site.yml does)"
    elif details["disk_gib"] is None:
        problem = f"its volume {first.name}.root is not there"
    if problem:
        return Lost(first.name, first.id, node, problem)
    domain = next((domain for domain in domains if domain.node == node), first)
    return _readable(domain, details, node)


def _owner(domains: Sequence[Domain], details: Mapping[str, Any], seen: Seen) -> tuple[str, str]:
    """The node of a VM, and why that cannot be told. What the pool says counts: several nodes can have its domain."""
    nodes = [domain.node for domain in domains]
    owner, moving_to = details.get("owner"), details.get("moving_to")
    if owner is not None:
        problem = "" if {owner, moving_to} & set(nodes) else f"it belongs to {owner}, and its domain is on {nodes[0]}"
        return owner, problem
    if len(nodes) > 1:
        return nodes[0], f"it is on {', '.join(nodes)}, and belongs to none of them"
    return nodes[0], f"it may be on {', '.join(seen.silent)} too" if seen.silent else ""


def _readable(domain: Domain, details: Mapping[str, Any], node: str) -> Lost:
    """A VM with what was asked for it, unless that is none."""
    record = details["record"] or {}
    whole = record.get("version") == RECORD_VERSION
    request = _request(domain, details, record["request"] if whole else {}) | {"node": node}
    spec, problems = read_request(request)
    if problems:
        return Lost(domain.name, domain.id, node, f"it cannot be read: {'; '.join(problems)}")
    moving = {"moving_to": details["moving_to"]} if details["moving_to"] else {}
    state = "migrating" if moving else domain.state
    kept = _kept(details, record["spec"] if whole else {}) | moving
    size = f"{spec.memory_mib} MiB, {spec.vcpus} CPU, {spec.disk_gib} GiB of {spec.image}"
    detail = f"{state}, {size}{'' if whole else '; without tags and seed, which nobody kept'}"
    created_at = record["created_at"] if whole else None
    return Lost(domain.name, domain.id, node, detail, spec, state, domain.ip, created_at, kept)


def _request(domain: Domain, details: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of create_vm.yml that would make this VM."""
    networks = details["networks"]
    if [nic["mac"] for nic in kept.get("networks", ())] == [nic["mac"] for nic in networks]:
        networks = kept["networks"]
    disks = {disk["name"]: disk for disk in kept.get("disks", ())}
    return {
        "project": details["project"],
        "image": details["image"],
        **kept,
        "name": domain.name,
        "ram": details["memory_mib"],
        "ram_max": details["memory_max_mib"],
        "cpu": details["vcpus"],
        "cpu_max": details["vcpus_max"],
        "disk": details["disk_gib"],
        "disks": [{**disks.get(disk["name"], {}), **disk} for disk in details["disks"]],
        "networks": networks,
    }


def _kept(details: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """What the row's spec gets beside the request; a clone's snapshot is not known before it was cloned."""
    found = {name: kept[name] for name in RECORDED if name in kept}
    source = found.get("source")
    volume, _at, snapshot = (details["parent"] or "").rpartition("@")
    if source and source["snapshot"] is None and volume == f"{source['name']}.root":
        found["source"] = {**source, "snapshot": snapshot}
    return found


def _unless_taken(one: Lost, wanted: VmSpec, names: Mapping[str, str], macs: Mapping[str, str]) -> Lost:
    problems = [f"its name is that of VM {names[one.name]}"] if one.name in names else []
    problems += [f"its MAC {mac} is that of VM {macs[mac]}" for mac in _macs_of(wanted) if mac in macs]
    return Lost(one.name, one.id, one.node, "; ".join(problems)) if problems else one
