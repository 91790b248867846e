# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that a VM has its volumes, as clones of a snapshot of another VM. Pure.

The root volume is cloned first: a run that continues one that was cut off goes on with the snapshot that it hangs on,
however many newer ones there are by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .errors import Conflict, Invalid, NotFound
from .plan_changes import new_disk_steps, refuse_to_shrink
from .plan_types import GIB, Build, Desired, Observed, Plan, SourceSnapshot, Step
from .snapshot_plan import FOREIGN, INCOMPLETE, Record, SeenVm, Snapshot, Volume
from .spec import Source


def source_snapshots(
    source: Source, volumes: Iterable[Volume], records: Mapping[str, Record]
) -> tuple[SourceSnapshot, ...]:
    """The snapshots of the source, the oldest first, each with what keeps it from being cloned."""
    seen = SeenVm(None, None, tuple(volumes), records)
    return tuple(
        SourceSnapshot(
            found.name,
            {volume.removeprefix(source.volume("")): part.size_bytes for volume, part in found.parts.items()},
            _problem(found),
        )
        for found in seen.snapshots()
    )


def clone_steps(desired: Desired, build: Build, source: Source, observed: Observed) -> list[Step]:
    """The volumes that are missing, as clones, and the growth of those that are there.

    Raises:
        NotFound: there is no such snapshot, or none at all.
        Conflict: the snapshot is not whole, or lacks a disk; or a volume is there that is not ours.
        Invalid: a disk would be smaller than it was at that moment.
    """
    steps = _root_steps(desired, build, observed) + new_disk_steps(desired, observed)
    if all(step.action != "create_disk" for step in steps):
        return steps
    snapshot = _choose(source, desired, observed)
    sizes = {
        step.target.removeprefix(desired.volume("")): step.detail["size_bytes"]
        for step in steps
        if step.action == "create_disk"
    }
    _refuse_missing(source, snapshot, sizes)
    _refuse_smaller(source, snapshot, sizes)
    return [_as_clone(step, desired, source, snapshot) if step.action == "create_disk" else step for step in steps]


def cloned_snapshot(desired: Desired, plan: Plan) -> str | None:
    """The snapshot of the source that the VM hangs on after the plan; None for one that is no clone of a VM."""
    root = plan.after["root"]
    if desired.build is None or desired.build.source is None or not isinstance(root, dict):
        return None
    return _snapshot_of(desired.build.source, root["parent"])


def _problem(found: Snapshot) -> str | None:
    return {
        FOREIGN: "was not made by snapshot_vm.yml",
        INCOMPLETE: f"is not whole ({', '.join(found.missing) or 'it was cut off'})",
    }.get(found.state)


def _root_steps(desired: Desired, build: Build, observed: Observed) -> list[Step]:
    root, volume, size = observed.root, desired.root_volume, build.disk_gib * GIB
    if root is None:
        return [Step("create_disk", volume, {"size_bytes": size})]
    if root.vm_id is None:
        raise Conflict(
            f"volume {volume} is there and is not marked as this VM's",
            "Look at it with 'rbd info' and 'rbd status'; rename or remove it, or choose another name.",
        )
    refuse_to_shrink(volume, root.size_bytes, build.disk_gib)
    return [Step("grow", volume, {"size_bytes": size})] if root.size_bytes < size else []


def _choose(source: Source, desired: Desired, observed: Observed) -> SourceSnapshot:
    """The snapshot that was asked for, or that the root volume hangs on, or else the newest that is whole."""
    hangs_on = _snapshot_of(source, observed.root.parent if observed.root else None)
    if source.snapshot and hangs_on not in (None, source.snapshot):
        raise Conflict(
            f"{desired.root_volume} is a clone of {source.name}@{hangs_on} already, not of @{source.snapshot}",
            "Give that snapshot, or delete the VM (delete_vm.yml) and begin anew.",
        )
    name = source.snapshot or hangs_on
    if name is None:
        whole = [found for found in observed.snapshots if found.problem is None]
        if not whole:
            raise NotFound(
                f"VM {source.name} has no whole snapshot", f"Make one: snapshot_vm.yml -e name={source.name}."
            )
        return whole[-1]
    snapshot = next((found for found in observed.snapshots if found.name == name), None)
    if snapshot is None:
        raise NotFound(
            f"There is no snapshot {source.name}@{name}",
            f"list_snapshots.yml -e name={source.name} shows those that there are.",
        )
    if snapshot.problem is not None:
        raise Conflict(
            f"Snapshot {source.name}@{name} {snapshot.problem}", "Choose another one, or make one: snapshot_vm.yml."
        )
    return snapshot


def _snapshot_of(source: Source, parent: str | None) -> str | None:
    """The snapshot in a parent `volume@snapshot`, where that is the source's root volume."""
    volume, _at, snapshot = (parent or "").partition("@")
    return snapshot if volume == source.volume("root") else None


def _refuse_missing(source: Source, snapshot: SourceSnapshot, sizes: Mapping[str, int]) -> None:
    missing = [source.volume(disk) for disk in sizes if disk not in snapshot.sizes]
    if missing:
        raise Conflict(
            f"Snapshot {source.name}@{snapshot.name} does not hold all disks of the clone",
            "Make a newer one (snapshot_vm.yml), or give disks without these; attach_disk.yml adds others later.",
            [f"{volume} is not in it" for volume in missing],
        )


def _refuse_smaller(source: Source, snapshot: SourceSnapshot, sizes: Mapping[str, int]) -> None:
    problems = [
        f"disk {disk} has {snapshot.sizes[disk] / GIB:g} GiB in {source.name}@{snapshot.name}, more than {size // GIB}"
        for disk, size in sizes.items()
        if size < snapshot.sizes[disk]
    ]
    if problems:
        raise Invalid(problems)


def _as_clone(step: Step, desired: Desired, source: Source, snapshot: SourceSnapshot) -> Step:
    volume = source.volume(step.target.removeprefix(desired.volume("")))
    detail = {"volume": volume, "snapshot": snapshot.name, "source": f"{volume}@{snapshot.name}"}
    return replace(step, action="clone_volume", detail={**step.detail, **detail})
