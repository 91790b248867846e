# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the registry differs from what is there, and what mends it: (rows, what was seen) -> findings. Pure.

A VM that somebody is changing is left alone, and so is what a node that does not answer may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .rebuild_plan import Known, Lost, lost
from .seen import Domain, Seen

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
class Finding:
    """One difference.

    Attributes:
        kind: one of KINDS; where a registry is rebuilt also unknown_node, unknown_image and unknown_subnet.
        action: what mends it, for people; "" where a person has to look.
        changes: what the row of the VM gets by that.
        vm_id: the VM that the row is of.
        cached: the node that the cache is to name, None to have it forget; only with stale_cache.
        lost: the VM that is to be recorded; only with unknown_domain.
    """

    kind: str
    name: str
    detail: str
    action: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    vm_id: str = ""
    cached: str | None = None
    lost: Lost | None = None

    @property
    def is_of_the_registry(self) -> bool:
        """Whether what mends it is done in PostgreSQL or Redis, and not on a node."""
        return bool(self.changes) or self.lost is not None or self.kind == "stale_cache"

    def view(self) -> dict[str, str]:
        """As results show it."""
        return {"kind": self.kind, "name": self.name, "detail": self.detail, "action": self.action}


def compare(known: Known, seen: Seen) -> list[Finding]:
    """Every difference, by the name of what it is about.

    Args:
        known: of the VMs that are not deleted also node, state, ip, made, leased and step.
    """
    rows = known.rows
    by_id: dict[str, list[Domain]] = {}
    for domain in seen.domains:
        by_id.setdefault(domain.id, []).append(domain)
    found = [finding for row in rows if not row["leased"] for finding in _row(row, by_id.get(row["id"], []), seen)]
    unknown = unknown_domains(known, seen)
    found += unknown + _foreign(seen)
    nodes = {row["name"]: row["node"] for row in rows}
    found += _stale(nodes | {finding.name: finding.lost.node for finding in unknown if finding.lost}, seen)
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


def unknown_domains(known: Known, seen: Seen) -> list[Finding]:
    """The VMs that have a domain and that the registry does not have."""
    return [_unknown(one) for one in lost(known, seen)]


def _unknown(one: Lost) -> Finding:
    detail = f"on {one.node} is of VM {one.id}, which the registry does not have"
    if one.detail:
        detail += f": {one.detail}"
    if one.wanted is None:
        return Finding("unknown_domain", one.name, detail)
    return Finding("unknown_domain", one.name, detail, "record it", vm_id=one.id, lost=one)


def _foreign(seen: Seen) -> list[Finding]:
    return [
        Finding("unknown_domain", name, f"on {node} was not made by virtfleet.cloud")
        for node, names in seen.foreign.items()
        for name in names
    ]


def _stale(nodes: Mapping[str, str], seen: Seen) -> list[Finding]:
    found = []
    for name, cached in seen.cache.items():
        node = nodes.get(name)
        if node != cached:
            detail = f"Redis says {cached}, and " + (f"it is on {node}" if node else "there is no such VM")
            action = f"have Redis say {node}" if node else "have Redis forget it"
            found.append(Finding("stale_cache", name, detail, action, cached=node))
    return found
