# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving a VM from one node to another: (move, observed) -> Plan, and the XML and URIs that it needs. Pure.

The order of the steps is such that a run that ends between any two of them is continued by the next run.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import Conflict, Invalid, NotFound, VirtfleetError
from .ownership import Ownership
from .plan_types import DomainFacts, Plan, Step


@dataclass(frozen=True, slots=True)
class Move:
    """What was asked for. A VM whose target is its source stays: a move that was cut off is given up."""

    name: str
    id: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How a running VM is moved.

    Attributes:
        seconds: then the move is broken off (or goes on as post-copy), and the VM stays where it is.
        bandwidth_mib: MiB per second at most; 0 is as fast as it goes.
        downtime_ms: how long the guest may stand still at the end; None leaves it to QEMU.
        auto_converge: slow the guest down where it writes faster than its memory can be sent.
        encrypted: send the memory through the connection of both libvirts, not beside it in the clear.
        post_copy: run the guest on the target before all of its memory is there.
    """

    seconds: int = 300
    bandwidth_mib: int = 0
    downtime_ms: int | None = None
    auto_converge: bool = False
    encrypted: bool = True
    post_copy: bool = False


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What the target said of itself. `problems` are those that it found alone."""

    domain: DomainFacts | None = None
    interfaces: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedMove:
    """Everything that a move is decided by. `target` is None where the VM stays.

    Attributes:
        interfaces: type and source of each network interface of the domain, like (bridge, br0).
        cpu_fits: whether the target's CPU can do all that the guest may use.
    """

    domain: DomainFacts | None
    interfaces: tuple[tuple[str, str], ...]
    owner: Ownership | None
    target: TargetFacts | None
    cpu_fits: bool = True


def check_limits(limits: Limits) -> None:
    """Refuse limits that contradict each other or are out of range.

    Raises:
        Invalid: every problem is listed.
    """
    problems = []
    if limits.seconds < 1:
        problems.append(f"timeout {limits.seconds} is less than a second")
    if limits.bandwidth_mib < 0:
        problems.append(f"bandwidth {limits.bandwidth_mib} is less than 0 MiB per second")
    if limits.downtime_ms is not None and limits.downtime_ms < 1:
        problems.append(f"downtime {limits.downtime_ms} is less than a millisecond")
    if limits.post_copy and limits.encrypted:
        problems.append("post_copy does not work by TLS: it needs encrypted=false, on a network that is trusted")
    if problems:
        raise Invalid(problems)


def decide_move(move: Move, observed: ObservedMove) -> Plan:
    """The steps from where the VM is to where it should be.

    Raises:
        VirtfleetError: it is refused; every reason is listed.
    """
    _refuse_other_owner(move, observed.owner)
    steps = _stay(move, observed) if observed.target is None else _go(move, observed, observed.target)
    return Plan(tuple(steps), _before(move, observed), _after(move, observed))


def _refuse_other_owner(move: Move, owner: Ownership | None) -> None:
    allowed = {Ownership(move.source), Ownership(move.source, move.target), Ownership(move.target)}
    staying = move.source == move.target and owner is not None and owner.node == move.source
    if owner not in allowed and not staying:
        raise VirtfleetError(
            "in_use_elsewhere",
            f"VM {move.name} belongs to {owner or 'no node'}, not to {move.source}",
            "Look where it runs ('virsh list --all' on the nodes) before anything is done with it.",
        )


def _stay(move: Move, observed: ObservedMove) -> list[Step]:
    if observed.domain is None:
        raise Conflict(
            f"VM {move.name} is not on {move.source} any more", "Run again without node: its move is then finished."
        )
    return [] if observed.owner == Ownership(move.source) else [Step("keep_ownership", move.name)]


def _go(move: Move, observed: ObservedMove, target: TargetFacts) -> list[Step]:
    there = target.domain
    if observed.domain is None and there is None:
        raise NotFound(
            f"VM {move.name} has a domain neither on {move.source} nor on {move.target}",
            "Look at the nodes with 'virsh list --all'.",
        )
    if observed.domain is None:
        _refuse(move, observed, _strange_domains(move, observed))
        return _hand_over(move, observed)
    # A definition alone is what a move that was broken off may leave on the target; the next one replaces it.
    if there is not None and there.state != "stopped":
        return _tidy_up(move, observed, there)
    _refuse(move, observed, [*_strange_domains(move, observed), *_what_the_target_lacks(move, observed, target)])
    steps = [] if observed.owner == _shared(move) else [Step("share_ownership", move.name)]
    state = observed.domain.state
    return [*steps, Step("migrate", move.name, {"state": state, "to": move.target}), *_hand_over(move, observed)]


def _tidy_up(move: Move, observed: ObservedMove, there: DomainFacts) -> list[Step]:
    """It runs on the target; what the source still has is only a definition, if the source is not to blame."""
    problems = _strange_domains(move, observed)
    here = observed.domain
    if here is not None and (here.state != "stopped" or observed.owner != _shared(move)):
        problems.append(f"it is {here.state} on {move.source} and {there.state} on {move.target}")
    _refuse(move, observed, problems)
    return [Step("undefine", move.name), *_hand_over(move, observed)]


def _hand_over(move: Move, observed: ObservedMove) -> list[Step]:
    return [] if observed.owner == Ownership(move.target) else [Step("hand_over_ownership", move.name)]


def _shared(move: Move) -> Ownership:
    return Ownership(move.source, move.target)


def _strange_domains(move: Move, observed: ObservedMove) -> list[str]:
    found = {move.source: observed.domain, move.target: observed.target.domain if observed.target else None}
    return [
        f"the domain {move.name} on {node} with UUID {domain.uuid} is not this VM ({move.id})"
        for node, domain in found.items()
        if domain is not None and (domain.uuid != move.id or domain.owned_id != move.id)
    ]


def _what_the_target_lacks(move: Move, observed: ObservedMove, target: TargetFacts) -> list[str]:
    problems = list(target.problems)
    problems += [
        f"{move.target} has no {kind} {source}, which an interface of the VM is on"
        for kind, source in observed.interfaces
        if (kind, source) not in target.interfaces
    ]
    if not observed.cpu_fits:
        problems.append(f"the CPU of {move.target} lacks something that the CPU of {move.source} has")
    return problems


def _refuse(move: Move, observed: ObservedMove, problems: list[str]) -> None:
    if problems:
        raise Conflict(
            f"VM {move.name} cannot move from {move.source} to {move.target}",
            "It is where it was; correct what is listed, or choose another node.",
            problems,
        )


def _before(move: Move, observed: ObservedMove) -> dict[str, Any]:
    return {
        "node": move.source if observed.domain or observed.target is None else move.target,
        "state": _state(observed),
        "owner": str(observed.owner),
    }


def _after(move: Move, observed: ObservedMove) -> dict[str, Any]:
    return {"node": move.target, "state": _state(observed), "owner": move.target}


def _state(observed: ObservedMove) -> str:
    """The state that the VM is in and keeps: of two domains that of the one that is on."""
    domains = [observed.domain, observed.target.domain if observed.target else None]
    states = [domain.state for domain in domains if domain is not None]
    return next((state for state in states if state != "stopped"), "stopped")


def interfaces(xml: str) -> tuple[tuple[str, str], ...]:
    """Type and source of the domain's network interfaces that are on a network or a bridge."""
    return tuple(_interfaces(ET.fromstring(xml)))


def _interfaces(domain: ET.Element) -> Iterator[tuple[str, str]]:
    for interface in domain.findall("devices/interface"):
        kind = interface.get("type", "")
        source = interface.find("source")
        if kind in ("network", "bridge") and source is not None:
            yield kind, source.get(kind, "")


def host_cpu(capabilities: str) -> str:
    """The host's CPU as XML, out of libvirt's capabilities."""
    cpu = ET.fromstring(capabilities).find("host/cpu")
    return "" if cpu is None else ET.tostring(cpu, encoding="unicode").strip()


def target_uri(address: str) -> str:
    """Where the source's libvirt reaches the target's: by TLS, each with the certificate of its host."""
    return f"qemu+tls://{_bracketed(address)}/system"


def memory_uri(address: str) -> str:
    """Where QEMU sends the memory where that does not go through libvirt."""
    return f"tcp://{_bracketed(address)}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
