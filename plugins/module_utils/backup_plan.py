# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done for a backup of a VM: (wish, what is seen) -> Plan. Pure.

The snapshot that a backup was read from stays until the next one is whole, as that one says what changed since. Its
name holds a mark of the destination: backups of a VM to two places do not take each other's snapshots away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .backup_manifest import FULL, INCREMENTAL, SEED, Kept, Manifest
from .errors import Conflict, Invalid
from .field_reader import name_problem
from .plan_types import Plan, Step, VolumeFacts
from .snapshot_plan import FOREIGN, FREEZE, SeenVm, Snapshot, Wish, decide_snapshot

KINDS = ("auto", FULL, INCREMENTAL)
_POOL = "pool:"


@dataclass(frozen=True, slots=True)
class BackupWish:
    """What was asked for. `to` is a directory, or `pool:NAME`."""

    name: str
    id: str
    node: str
    to: str
    backup: str
    state: str = "present"
    kind: str = "auto"
    full_every: int = 7
    keep: int | None = None
    freeze: str = FREEZE[0]

    @property
    def snapshot(self) -> str:
        """The snapshot that this backup is read from."""
        return f"backup-{self.backup}{self.mark}"

    @property
    def mark(self) -> str:
        """How the snapshots for this destination end."""
        return "-" + hashlib.sha256(self.to.rstrip("/").encode()).hexdigest()[:8]

    def target(self, backup: str) -> str:
        """A backup of this VM as people write it."""
        return f"{self.name}/{backup}"


def pool_of_destination(to: str) -> str | None:
    """The pool of a destination, or None for a directory."""
    return to.removeprefix(_POOL) if to.startswith(_POOL) else None


def destination_problems(to: str, own_pool: str) -> list[str]:
    """What is wrong with a destination by itself.

    Args:
        own_pool: where the volumes are.
    """
    pool = pool_of_destination(to)
    if pool is None:
        return [] if to.startswith("/") else [f"{to!r} is neither an absolute path nor pool:NAME"]
    if pool == own_pool:
        return [f"pool {pool} is the one that the VMs are in, and would be lost with them"]
    return [] if pool else ["pool: needs a name"]


def refuse_invalid_backup(wish: BackupWish, own_pool: str) -> None:
    """Refuse what is wrong with the request by itself.

    Raises:
        Invalid: every problem at once.
    """
    problems = [name_problem(wish.name), name_problem(wish.backup, "backup"), *destination_problems(wish.to, own_pool)]
    if not name_problem(wish.backup) and name_problem(wish.snapshot):
        problems.append(f"backup {wish.backup} is too long for the name of a snapshot")
    if wish.keep is not None and wish.keep < 1:
        problems.append(f"keep {wish.keep} is not a number of backups, 1 or more")
    if wish.full_every < 1:
        problems.append(f"full_every {wish.full_every} is not a number of backups, 1 or more")
    found = [problem for problem in problems if problem]
    if found:
        raise Invalid(found)


def decide_backup(wish: BackupWish, seen: SeenVm, kept: Kept, seed: VolumeFacts | None) -> Plan:
    """The steps to a backup that is whole, and to what is kept of the older ones.

    Args:
        seed: the VM's seed, which no snapshot holds.

    Raises:
        VirtfleetError: it is refused.
    """
    there = kept.get(wish.backup)
    steps: list[Step] = []
    if there is None:
        steps = _make(wish, seen, kept, seed)
        published = steps[-1].detail
        kept = replace(kept, manifests=(*kept.manifests, _promised(wish, published)))
    elif there.vm_id != wish.id:
        raise Conflict(
            f"Backup {wish.target(wish.backup)} is of another VM ({there.vm_id})", "Choose another name for it."
        )
    steps += [_remove_snapshot(wish, old) for old in stale(wish, seen, kept) if not old.hindrances()]
    if wish.keep is not None:
        beyond = kept.beyond(kept.of(wish.id), wish.keep)
        steps += [Step("remove_backup", wish.target(old.backup), {"backup": old.backup}) for old in beyond]
    return Plan(tuple(steps), _before(wish, seen, kept, bool(there)), _after(wish, seen, kept, bool(there), steps))


def stale(wish: BackupWish, seen: SeenVm, kept: Kept) -> list[Snapshot]:
    """The snapshots for this destination that the next backup has no use for."""
    newest = kept.of(wish.id)[-1].backup
    wanted = replace(wish, backup=newest).snapshot
    return [found for found in _bases(wish, seen) if found.name not in (wanted, wish.snapshot)]


def _bases(wish: BackupWish, seen: SeenVm) -> list[Snapshot]:
    return [
        found
        for found in seen.snapshots()
        if found.state != FOREIGN and found.name.startswith("backup-") and found.name.endswith(wish.mark)
    ]


def _make(wish: BackupWish, seen: SeenVm, kept: Kept, seed: VolumeFacts | None) -> list[Step]:
    if wish.backup in kept.broken:
        raise Conflict(
            f"Backup {wish.target(wish.backup)} is there and damaged: {kept.broken[wish.backup]}",
            "Remove it (remove_backup.yml), or choose another name.",
        )
    steps = [Step("discard", wish.target(backup), {"backup": backup}) for backup in kept.partial]
    torn = seen.snapshot(wish.snapshot)
    if torn is not None:
        # Of a run that was cut off: what is backed up now is to be as it is now.
        steps.append(_remove_snapshot(wish, torn))
        seen = _without(seen, torn.name)
    asked = Wish(wish.name, wish.id, wish.node, "present", wish.snapshot, freeze=wish.freeze)
    steps += decide_snapshot(asked, seen).steps
    parent, reason = _parent(wish, seen, kept)
    for volume in seen.volumes:
        disk = volume.name.removeprefix(f"{wish.name}.")
        base = parent.part(disk) if parent else None
        detail = {"disk": disk, "from_snapshot": base.to_snapshot if base else None}
        steps.append(Step("write", volume.name, detail))
    if seed is not None:
        steps.append(Step("write", f"{wish.name}.{SEED}", {"disk": SEED, "from_snapshot": None}))
    publish = {
        "kind": INCREMENTAL if parent else FULL,
        "parent": parent.backup if parent else None,
        "reason": reason,
        "number": max((manifest.number for manifest in kept.manifests), default=0) + 1,
    }
    return [*steps, Step("publish", wish.target(wish.backup), publish)]


def _parent(wish: BackupWish, seen: SeenVm, kept: Kept) -> tuple[Manifest | None, str]:
    """The backup that this one builds on; where there is none, why."""
    if wish.kind == FULL:
        return None, "it was asked for"
    ours = kept.of(wish.id)
    reason = _why_full(wish, seen, kept, ours)
    if not reason:
        return ours[-1], ""
    if wish.kind == INCREMENTAL:
        raise Conflict(f"A backup of {wish.name} cannot be incremental now: {reason}", "kind=auto makes a full one.")
    return None, reason


def _why_full(wish: BackupWish, seen: SeenVm, kept: Kept, ours: Sequence[Manifest]) -> str:
    if not ours:
        return "there is none of this VM yet"
    newest = ours[-1]
    chain, problems = kept.chain(newest)
    if problems:
        return "; ".join(problems)
    if wish.kind != INCREMENTAL and len(chain) >= wish.full_every:
        return f"every {wish.full_every}. is one (full_every)"
    for volume in seen.volumes:
        part = newest.part(volume.name.removeprefix(f"{wish.name}."))
        if part is None:
            continue
        snapshot = volume.snapshots.get(part.to_snapshot or "")
        if snapshot is None or snapshot.id != part.snapshot_id:
            return f"snapshot {volume.name}@{part.to_snapshot} is not there any more"
    return ""


def decide_removal(wish: BackupWish, kept: Kept) -> Plan:
    """The steps that remove one backup.

    Raises:
        Conflict: others build on it.
    """
    needing = kept.builds_on(wish.backup)
    if needing:
        raise Conflict(
            f"Backup {wish.target(wish.backup)} is needed by others",
            "Remove these first, or let keep of backup_vm.yml remove what is old.",
            [f"{backup} builds on it" for backup in needing],
        )
    there = kept.get(wish.backup) is not None or wish.backup in (*kept.partial, *kept.broken)
    detail = {"backup": wish.backup}
    steps = [Step("remove_backup", wish.target(wish.backup), detail)] if there else []
    before = {"backups": _states(kept)}
    after = {name: state for name, state in before["backups"].items() if name != wish.backup}
    return Plan(tuple(steps), before, {"backups": after})


def _promised(wish: BackupWish, published: dict[str, Any]) -> Manifest:
    """The backup as it will be, as far as the others are concerned."""
    return Manifest(
        wish.backup, published["number"], "", published["kind"], published["parent"], "", "", wish.node,
        {"name": wish.name, "id": wish.id}, (),
    )  # fmt: skip


def _without(seen: SeenVm, snapshot: str) -> SeenVm:
    volumes = tuple(
        replace(volume, snapshots={name: part for name, part in volume.snapshots.items() if name != snapshot})
        for volume in seen.volumes
    )
    return replace(seen, volumes=volumes, records={k: record for k, record in seen.records.items() if k != snapshot})


def _remove_snapshot(wish: BackupWish, there: Snapshot) -> Step:
    detail = {"snapshot": there.name, "volumes": sorted(there.parts)}
    return Step("remove_snapshot", f"{wish.name}@{there.name}", detail)


def _states(kept: Kept) -> dict[str, str]:
    whole = {manifest.backup: manifest.kind for manifest in kept.manifests}
    return whole | dict.fromkeys(kept.broken, "damaged") | dict.fromkeys(kept.partial, "partial")


def _before(wish: BackupWish, seen: SeenVm, kept: Kept, there: bool) -> dict[str, Any]:
    states = _states(kept)
    if not there:
        del states[wish.backup]
        states |= {name: "partial" for name in kept.partial if name == wish.backup}
    return {"backups": states, "snapshots": [found.name for found in _bases(wish, seen)]}


def _after(wish: BackupWish, seen: SeenVm, kept: Kept, there: bool, steps: list[Step]) -> dict[str, Any]:
    view = _before(wish, seen, kept, there)
    states, snapshots = dict(view["backups"]), list(view["snapshots"])
    for step in steps:
        if step.action in ("discard", "remove_backup"):
            del states[step.detail["backup"]]
        elif step.action == "publish":
            states[wish.backup] = step.detail["kind"]
        elif step.action == "snapshot":
            snapshots.append(step.detail["snapshot"])
        elif step.action == "remove_snapshot":
            snapshots.remove(step.detail["snapshot"])
    return {"backups": states, "snapshots": snapshots}
