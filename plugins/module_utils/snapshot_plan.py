# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to the snapshots of a VM: (wish, what is seen) -> Plan.

Pure. A snapshot of a VM is one RBD snapshot of the same name on each of its volumes, made at one moment, and a record
that says which volumes these are. The record is written before the first of them and closed after the last, so that a
snapshot that was cut off is never taken for a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import Conflict, Invalid, NotFound, VirtfleetError
from .field_reader import name_problem
from .own_domain import own_domain
from .plan_types import DomainFacts, Plan, Step

SNAPSHOT_STATES = ("present", "absent", "rolled_back")
FREEZE = ("auto", "never", "required")

WHOLE, INCOMPLETE, FOREIGN = "whole", "incomplete", "foreign"

# How backup_plan names the snapshots that backups are read from.
BACKUP_BASE = re.compile(r"backup-.+-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class RbdSnapshot:
    """One snapshot of one RBD image.

    Attributes:
        id: grows with time within a pool.
        clones: the images that hang on it, where that was read.
        used_bytes: what was written between the snapshot before it and itself, where that was read.
    """

    id: int
    size_bytes: int
    created_at: str
    protected: bool = False
    clones: tuple[str, ...] = ()
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What we know of a snapshot of a VM, kept in the metadata of its root volume.

    Attributes:
        volumes: those that it is of.
        guest: frozen, paused, running, suspended or stopped at that moment.
        done: it was made to the end.
        hold: how the guest was held meanwhile (freeze, pause), until it is known to be let go.
    """

    volumes: tuple[str, ...]
    guest: str = "stopped"
    done: bool = False
    hold: str | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the VM with its snapshots by name. `size_bytes` is that which outlasts a rollback under way."""

    name: str
    size_bytes: int
    watchers: int = 0
    snapshots: Mapping[str, RbdSnapshot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of the VM, put together from its volumes. `state` is WHOLE, INCOMPLETE or FOREIGN (not made by us)."""

    name: str
    state: str
    parts: Mapping[str, RbdSnapshot]
    record: Record | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The volumes that it should hold and does not."""
        return tuple(volume for volume in self.record.volumes if volume not in self.parts) if self.record else ()

    @property
    def age(self) -> int:
        """Sorts snapshots from the oldest to the newest, whatever the clocks say."""
        return min((part.id for part in self.parts.values()), default=0)

    def hindrances(self) -> list[str]:
        """Why it cannot be removed."""
        found = []
        for volume, part in sorted(self.parts.items()):
            if part.clones:
                found.append(f"{volume}@{self.name} has clones: {', '.join(part.clones)}")
            elif part.protected:
                found.append(f"{volume}@{self.name} is protected ('rbd snap unprotect')")
        return found

    def view(self) -> dict[str, Any]:
        """As results show it."""
        used = [part.used_bytes for part in self.parts.values() if part.used_bytes is not None]
        return {
            "name": self.name,
            "state": self.state,
            "created_at": min((part.created_at for part in self.parts.values()), default=None),
            "guest": self.record.guest if self.record else None,
            "frozen": self.record is not None and self.record.guest == "frozen",
            "size_bytes": sum(part.size_bytes for part in self.parts.values()),
            "used_bytes": sum(used) if len(used) == len(self.parts) else None,
            "volumes": sorted(self.parts),
            "missing": list(self.missing),
            "clones": sorted({clone for part in self.parts.values() for clone in part.clones}),
        }


@dataclass(frozen=True, slots=True)
class SeenVm:
    """A VM with its snapshots. `unchanged` are the volumes whose content is that of the snapshot to go back to."""

    domain: DomainFacts | None
    owner: str | None
    volumes: tuple[Volume, ...]
    records: Mapping[str, Record] = field(default_factory=dict)
    unchanged: frozenset[str] = frozenset()

    def snapshots(self) -> tuple[Snapshot, ...]:
        """The snapshots of the VM, the oldest first."""
        names = {name for volume in self.volumes for name in volume.snapshots} | set(self.records)
        return tuple(sorted((self._snapshot(name) for name in names), key=lambda found: (found.age, found.name)))

    def snapshot(self, name: str) -> Snapshot | None:
        """The snapshot of this name."""
        return next((found for found in self.snapshots() if found.name == name), None)

    def _snapshot(self, name: str) -> Snapshot:
        parts = {volume.name: volume.snapshots[name] for volume in self.volumes if name in volume.snapshots}
        record = self.records.get(name)
        if record is None:
            return Snapshot(name, FOREIGN, parts)
        whole = record.done and all(volume in parts for volume in record.volumes)
        return Snapshot(name, WHOLE if whole else INCOMPLETE, parts, record)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    name: str
    id: str
    node: str
    state: str
    snapshot: str
    keep: int | None = None
    freeze: str = "auto"
    allow_power_cycle: bool = False
    start: bool = False

    @property
    def root_volume(self) -> str:
        return f"{self.name}.root"

    def target(self, snapshot: str) -> str:
        """A snapshot of this VM as people write it."""
        return f"{self.name}@{snapshot}"


def refuse_invalid(wish: Wish) -> None:
    """Refuse what is wrong with the request by itself.

    Raises:
        Invalid: every problem at once.
    """
    problems = [name_problem(wish.name), name_problem(wish.snapshot, "snapshot")]
    if wish.keep is not None and wish.keep < 1:
        problems.append(f"keep {wish.keep} is not a number of snapshots, 1 or more")
    found = [problem for problem in problems if problem]
    if found:
        raise Invalid(found)


def decide_snapshot(wish: Wish, seen: SeenVm) -> Plan:
    """The steps from what is there to what was asked for.

    Raises:
        VirtfleetError: it is refused.
    """
    domain = _domain(wish, seen)
    decide = {"present": _present, "absent": _absent, "rolled_back": _rolled_back}[wish.state]
    steps = [*_let_go(wish, seen, domain), *decide(wish, seen, domain)]
    if steps:
        _refuse_hung(wish, seen, domain)
    return Plan(tuple(steps), _before(wish, seen, domain), _after(wish, seen, domain, steps))


def clear_snapshots(plan: Plan, volumes: Iterable[Volume], records: Mapping[str, Record]) -> Plan:
    """A plan that removes volumes for good, with the steps that remove our snapshots of them first.

    Args:
        volumes: those that the plan removes, with the clones of their snapshots.
        records: which of the snapshots are ours.

    Raises:
        Conflict: a volume has a snapshot that is not ours, or that has clones.
    """
    problems: list[str] = []
    before: dict[str, Step] = {}
    for volume in volumes:
        found = [snapshot for snapshot in SeenVm(None, None, (volume,), records).snapshots() if snapshot.parts]
        for snapshot in found:
            hindrances = snapshot.hindrances()
            if snapshot.state == FOREIGN and not hindrances:
                hindrances = [f"{volume.name}@{snapshot.name} was not made by snapshot_vm.yml"]
            problems += hindrances
        if found:
            names = [snapshot.name for snapshot in found]
            before[volume.name] = Step("remove_snapshots", volume.name, {"snapshots": names})
    if problems:
        raise Conflict(
            "There are snapshots that keep volumes from being removed",
            "See to these first, or delete without purge: the trash takes volumes with their snapshots.",
            problems,
        )
    steps: list[Step] = []
    for step in plan.steps:
        if step.action == "remove" and step.target in before:
            steps.append(before[step.target])
        steps.append(step)
    return replace(plan, steps=tuple(steps))


def _domain(wish: Wish, seen: SeenVm) -> DomainFacts:
    """The VM's domain, if everything is there and this VM's."""
    domain = own_domain(wish.name, wish.id, wish.node, seen.owner, seen.domain)
    if all(volume.name != wish.root_volume for volume in seen.volumes):
        raise NotFound(
            f"VM {wish.name} has no volume {wish.root_volume}",
            "If it was half-made, run create_vm.yml again with the same name.",
        )
    return domain


def _refuse_hung(wish: Wish, seen: SeenVm, domain: DomainFacts) -> None:
    """A QEMU that is silent for long loses its watch, and librbd would evict it for the sake of our change.

    For every change of an image it asks the client that holds its lock, and takes one without a watch for dead.
    """
    root = next(volume for volume in seen.volumes if volume.name == wish.root_volume)
    if domain.state != "stopped" and not root.watchers:
        raise VirtfleetError(
            "unreachable",
            f"VM {wish.name} is {domain.state}, and its QEMU does not hold {root.name} open",
            "It hangs, or cannot reach Ceph: look at it on its node; stop_vm.yml with force=true cuts it off.",
        )


def _let_go(wish: Wish, seen: SeenVm, domain: DomainFacts) -> list[Step]:
    """A run that was cut off while it held the guest may have left it frozen or paused."""
    holds = {record.hold for record in seen.records.values()}
    if domain.state == "running" and "freeze" in holds:
        return [Step("thaw", wish.name)]
    if domain.state == "suspended" and "pause" in holds:
        return [Step("resume", wish.name)]
    return []


def _present(wish: Wish, seen: SeenVm, domain: DomainFacts) -> list[Step]:
    there = seen.snapshot(wish.snapshot)
    if there is not None and there.state == FOREIGN:
        raise _not_ours(wish, there)
    steps = []
    if there is not None and there.state == INCOMPLETE:
        # What is missing cannot be added: it would be of another moment.
        steps += _remove(wish, there)
    if there is None or there.state == INCOMPLETE:
        volumes = sorted(volume.name for volume in seen.volumes)
        steps.append(Step("snapshot", wish.target(wish.snapshot), {"snapshot": wish.snapshot, "volumes": volumes}))
    return steps + [step for old in beyond(wish, seen) if not old.hindrances() for step in _remove(wish, old)]


def beyond(wish: Wish, seen: SeenVm) -> list[Snapshot]:
    """Our snapshots that `keep` takes away: the oldest, and those that were cut off."""
    if wish.keep is None or wish.state != "present":
        return []
    # What the next incremental backup builds on is not a snapshot of the user's.
    others = [
        found for found in seen.snapshots() if found.name != wish.snapshot and not BACKUP_BASE.fullmatch(found.name)
    ]
    whole = [found for found in others if found.state == WHOLE]
    return [found for found in others if found.state == INCOMPLETE] + whole[: max(0, len(whole) + 1 - wish.keep)]


def _absent(wish: Wish, seen: SeenVm, domain: DomainFacts) -> list[Step]:
    there = seen.snapshot(wish.snapshot)
    if there is None:
        return []
    if there.state == FOREIGN:
        raise _not_ours(wish, there)
    return _remove(wish, there)


def _remove(wish: Wish, there: Snapshot) -> list[Step]:
    hindrances = there.hindrances()
    if hindrances:
        raise Conflict(
            f"Snapshot {wish.target(there.name)} cannot be removed",
            "Delete or flatten these clones first, or keep it.",
            hindrances,
        )
    detail = {"snapshot": there.name, "volumes": sorted(there.parts)}
    return [Step("remove_snapshot", wish.target(there.name), detail)]


def _rolled_back(wish: Wish, seen: SeenVm, domain: DomainFacts) -> list[Step]:
    there = seen.snapshot(wish.snapshot)
    if there is None:
        raise NotFound(
            f"There is no snapshot {wish.target(wish.snapshot)}", "list_snapshots.yml shows those that there are."
        )
    _refuse_unfit(wish, seen, there)
    if domain.state == "stopped":
        _refuse_open(seen)
        back = [volume for volume in seen.volumes if volume.name not in seen.unchanged]
        power_off: list[Step] = []
        start = [Step("start", wish.name)] if wish.start else []
    else:
        _refuse_power(wish, domain)
        back = list(seen.volumes)
        power_off = [Step("shut_down_or_power_off", wish.name)]
        start = [Step("start", wish.name)]
    steps = [
        Step("roll_back", f"{volume.name}@{there.name}", {"volume": volume.name, "size_bytes": volume.size_bytes})
        for volume in back
    ]
    return power_off + steps + start


def _refuse_unfit(wish: Wish, seen: SeenVm, there: Snapshot) -> None:
    if there.state == FOREIGN:
        raise _not_ours(wish, there)
    if there.state == INCOMPLETE:
        raise Conflict(
            f"Snapshot {wish.target(there.name)} is not whole",
            "It was cut off, or a volume has gone since; choose another one, and remove it (remove_snapshot.yml).",
            [f"{volume} is missing" for volume in there.missing],
        )
    newer = [volume.name for volume in seen.volumes if volume.name not in there.parts]
    if newer:
        raise Conflict(
            f"Snapshot {wish.target(there.name)} does not hold all volumes of the VM",
            "Take the volumes that were added after it away from the VM first.",
            [f"{volume} is newer" for volume in newer],
        )


def _refuse_open(seen: SeenVm) -> None:
    problems = [f"{volume.name} is open" for volume in seen.volumes if volume.watchers]
    if problems:
        raise VirtfleetError(
            "in_use_elsewhere",
            "The VM is stopped here, and its volumes are in use by a client somewhere else",
            "Find it with 'rbd status'; nothing that is open is rolled back.",
            problems,
        )


def _refuse_power(wish: Wish, domain: DomainFacts) -> None:
    if domain.state == "suspended":
        raise VirtfleetError(
            "needs_consent",
            f"VM {wish.name} is suspended, and its memory would be lost",
            "Stop it first (stop_vm.yml with force=true).",
        )
    if not wish.allow_power_cycle:
        raise VirtfleetError(
            "needs_consent",
            f"VM {wish.name} is running, and what was written since snapshot {wish.snapshot} would be lost",
            "Stop it first (stop_vm.yml), or give allow_power_cycle=true to have it stopped and started again.",
        )


def _not_ours(wish: Wish, there: Snapshot) -> Conflict:
    parts = ", ".join(f"{volume}@{there.name}" for volume in sorted(there.parts))
    return Conflict(
        f"Snapshot {wish.target(there.name)} was not made by snapshot_vm.yml",
        f"It is on {parts}; choose another name, or see to it with 'rbd snap'.",
    )


def _before(wish: Wish, seen: SeenVm, domain: DomainFacts) -> dict[str, Any]:
    view: dict[str, Any] = {
        "state": domain.state,
        "snapshots": {found.name: found.state for found in seen.snapshots()},
    }
    if wish.state == "rolled_back":
        view["content"] = {
            volume.name: wish.snapshot if volume.name in seen.unchanged else "changed" for volume in seen.volumes
        }
    return view


def _after(wish: Wish, seen: SeenVm, domain: DomainFacts, steps: list[Step]) -> dict[str, Any]:
    view = _before(wish, seen, domain)
    snapshots = view["snapshots"]
    for step in steps:
        if step.action == "snapshot":
            snapshots[step.detail["snapshot"]] = WHOLE
        elif step.action == "remove_snapshot":
            del snapshots[step.detail["snapshot"]]
        elif step.action == "roll_back":
            view["content"][step.detail["volume"]] = wish.snapshot
        elif step.action in ("start", "resume"):
            view["state"] = "running"
        elif step.action == "shut_down_or_power_off":
            view["state"] = "stopped"
    return view
