# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the registry differs from what is there, and what mends it: (rows, what was seen) -> findings. Pure.

A VM that somebody is changing is left alone, and so is what a node that does not answer may have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What there is to find.
KINDS = (
    "unknown_domain",
    "missing_domain",
    "wrong_node",
    "wrong_state",
    "half_made",
    "stale_cache",
    "missing_address",
    "wrong_address",
)


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of ours on a node; `id` is that of its VM."""

    node: str
    name: str
    id: str
    state: str
    ip: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    Attributes:
        kind: one of KINDS.
        action: what mends it, for people; "" where a person has to look.
        changes: what the row of the VM gets by that.
        vm_id: the VM that the row is of.
        cached: the node that the cache is to name, None to have it forget; only with stale_cache.
    """

    kind: str
    name: str
    detail: str
    action: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    vm_id: str = ""
    cached: str | None = None

    @property
    def is_of_the_registry(self) -> bool:
        """Whether what mends it is done in PostgreSQL or Redis, and not on a node."""
        return bool(self.changes) or self.kind == "stale_cache"

    def view(self) -> dict[str, str]:
        """As results show it."""
        return {"kind": self.kind, "name": self.name, "detail": self.detail, "action": self.action}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the nodes and the cache said.

    Attributes:
        domains: of ours, on all nodes that answered.
        foreign: the names of domains that are not ours, by node that answered.
        silent: the nodes that did not answer.
        cache: the node of each name that the cache knows.
    """

    domains: Sequence[Domain] = ()
    foreign: Mapping[str, Collection[str]] = field(default_factory=dict)
    silent: Collection[str] = ()
    cache: Mapping[str, str] = field(default_factory=dict)


def told(nodes: Mapping[str, Mapping[str, Any]], silent: Collection[str] = ()) -> Seen:
    """What module virt_rbd_vm_info returned on each node that answered, by its name."""
    domains = [
        Domain(node, vm["name"], vm["id"], vm["state"], vm["ip"])
        for node, answer in nodes.items()
        for vm in answer["vms"]
    ]
    return Seen(domains, {node: answer["foreign"] for node, answer in nodes.items()}, silent)


def compare(rows: Sequence[Mapping[str, Any]], seen: Seen) -> list[Finding]:
    """Every difference, by the name of what it is about.

    Args:
        rows: the VMs that are not deleted: id, name, node, state, ip, made, leased, step.
    """
    by_id: dict[str, list[Domain]] = {}
    for domain in seen.domains:
        by_id.setdefault(domain.id, []).append(domain)
    found = [finding for row in rows if not row["leased"] for finding in _row(row, by_id.get(row["id"], []), seen)]
    found += _unknown(rows, seen)
    found += _stale(rows, seen)
    return sorted(found, key=lambda finding: (finding.name, finding.kind))


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a dashboard shows of the VMs that are not deleted.

    Returns:
        `states`, how many are in each state, and `half_made_seconds`, for how long one at most is half-made (or
        half-deleted, or half-way to another node) without anybody working on it; 0 where there is none.
    """
    states: dict[str, int] = {}
    for row in rows:
        states[row["state"]] = states.get(row["state"], 0) + 1
    half = [row["unchanged_seconds"] for row in rows if not row["leased"] and _half_made(row) is not None]
    return {"states": states, "half_made_seconds": max(half, default=0)}


def _row(row: Mapping[str, Any], domains: Sequence[Domain], seen: Seen) -> list[Finding]:
    half = _half_made(row)
    if half is not None:
        return [half]
    here = next((domain for domain in domains if domain.node == row["node"]), None)
    elsewhere = [domain for domain in domains if domain.node != row["node"]]
    if here is None:
        return _not_here(row, elsewhere, seen)
    found = [
        Finding("wrong_node", row["name"], f"is on {row['node']} and has a domain on {domain.node} too")
        for domain in elsewhere
    ]
    if here.state != row["state"]:
        found.append(_change(row, "wrong_state", f"is {here.state}, not {row['state']}", {"state": here.state}))
    if here.ip not in (None, row["ip"]):
        kind, instead = ("wrong_address", f", not {row['ip']}") if row["ip"] else ("missing_address", "")
        found.append(_change(row, kind, f"has {here.ip}{instead}", {"ip": here.ip}))
    return found


def _half_made(row: Mapping[str, Any]) -> Finding | None:
    """What was cut off is for a person, who knows what it was to become."""
    if row["state"] == "deleting":
        return Finding("half_made", row["name"], "is half-deleted: delete_vm.yml finishes it")
    if row["state"] == "migrating":
        return Finding("half_made", row["name"], "is half-way to another node: migrate_vm.yml finishes it")
    if not row["made"]:
        where = f" (it ended at: {row['step']})" if row["step"] else ""
        return Finding(
            "half_made", row["name"], f"is half-made{where}: create_vm.yml finishes it, delete_vm.yml ends it"
        )
    return None


def _not_here(row: Mapping[str, Any], elsewhere: Sequence[Domain], seen: Seen) -> list[Finding]:
    if row["node"] in seen.silent:
        return []
    if len(elsewhere) == 1:
        (domain,) = elsewhere
        changes = {"node": domain.node, "state": domain.state}
        return [_change(row, "wrong_node", f"is on {domain.node}, not on {row['node']}", changes)]
    if elsewhere:
        nodes = ", ".join(domain.node for domain in elsewhere)
        return [Finding("wrong_node", row["name"], f"is on {nodes}, and not on {row['node']}")]
    if seen.silent:
        return []  # It may be on one that does not answer.
    # Where it is defined again is for its node: the registry has nothing to write before that.
    return [
        Finding("missing_domain", row["name"], f"is on no node, {row['node']} should have it", "define it there again")
    ]


def _change(row: Mapping[str, Any], kind: str, detail: str, changes: Mapping[str, Any]) -> Finding:
    action = "record " + ", ".join(f"{key} {value}" for key, value in changes.items())
    return Finding(kind, row["name"], detail, action, changes, row["id"])


def _unknown(rows: Sequence[Mapping[str, Any]], seen: Seen) -> list[Finding]:
    known = {row["id"] for row in rows}
    ours = [
        Finding(
            "unknown_domain", domain.name, f"on {domain.node} is of VM {domain.id}, which the registry does not have"
        )
        for domain in seen.domains
        if domain.id not in known
    ]
    return ours + [
        Finding("unknown_domain", name, f"on {node} was not made by virtfleet.cloud")
        for node, names in seen.foreign.items()
        for name in names
    ]


def _stale(rows: Sequence[Mapping[str, Any]], seen: Seen) -> list[Finding]:
    nodes = {row["name"]: row["node"] for row in rows}
    found = []
    for name, cached in seen.cache.items():
        node = nodes.get(name)
        if node != cached:
            detail = f"Redis says {cached}, and " + (f"it is on {node}" if node else "there is no such VM")
            action = f"have Redis say {node}" if node else "have Redis forget it"
            found.append(Finding("stale_cache", name, detail, action, cached=node))
    return found
