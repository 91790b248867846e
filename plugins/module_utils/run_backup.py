# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules virt_rbd_backup and virt_rbd_backup_info do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .backup_directory import BackupDirectory
from .backup_manifest import SEED, Kept, Manifest, Part
from .backup_plan import (
    BackupWish,
    decide_backup,
    decide_removal,
    destination_problems,
    pool_of_destination,
    refuse_invalid_backup,
    stale,
)
from .backup_storage import BackupStorage
from .backup_streams import Counter, verify
from .ceph import Ceph
from .ceph_backup import BackupPool
from .ceph_diff import VolumeDiffs
from .ceph_snapshot import SnapshotStore
from .domain_xml import NodeConfig
from .errors import Conflict, Invalid, NotFound, Unreachable, VirtfleetError
from .hypervisor_freeze import FreezingHypervisor
from .pace import MIB, Pace
from .plan_types import Plan, Step, VolumeFacts
from .progress import Progress
from .rbd_diff import Header, write_stream
from .run import fail, storage
from .run_snapshot import EXECUTORS as SNAPSHOT_EXECUTORS
from .run_snapshot import SnapshotRun
from .snapshot_plan import SeenVm, Wish


@contextmanager
def destination(to: str, node: NodeConfig) -> Iterator[BackupStorage]:
    """The place that backups are in.

    Raises:
        Invalid: it can be none.
    """
    problems = destination_problems(to, node.ceph_pool)
    if problems:
        raise Invalid(problems)
    pool = pool_of_destination(to)
    if pool is None:
        yield BackupDirectory(to)
        return
    try:
        ceph = Ceph(node.ceph_conf, node.ceph_client, pool)
    except Unreachable as error:
        if "opening pool" not in error.message:
            raise
        raise NotFound(f"There is no pool {pool}", "ceph_backup_pool of role ceph makes it.") from None
    with ceph:
        yield BackupPool(ceph)


class BackupRun:
    """One backup of one VM: everything that the steps of its plan need."""

    def __init__(
        self, module: AnsibleModule, wish: BackupWish, ceph: Ceph, place: BackupStorage, snapshots: SnapshotRun
    ) -> None:
        self.module = module
        self.wish = wish
        self.ceph = ceph
        self.place = place
        self.snapshots = snapshots
        self.diffs = VolumeDiffs(ceph)
        self.pace = Pace(module.params["rate"], module.params["timeout"])
        self.parts: list[Part] = []

    def observe(self) -> tuple[SeenVm, Kept, VolumeFacts | None]:
        """Read everything that the plan is decided by."""
        wish = self.wish
        volumes, records = self.snapshots.store.volumes(wish.name, wish.id, clones=True)
        seen = SeenVm(self.snapshots.hypervisor.domain(wish.name), self.ceph.owner(wish.id), volumes, records)
        return seen, self.place.kept(wish.name), self.ceph.volume(f"{wish.name}.{SEED}")

    def carry_out(self, plan: Plan, seen: SeenVm) -> None:
        """Do every step. What fails before the backup is whole leaves all as it was."""
        done: set[str] = set()
        try:
            for step in plan.steps:
                done.add(step.action)
                with self.snapshots.timed(step.action):
                    self._execute(step, seen)
        except VirtfleetError:
            if "publish" not in done:
                self._undo(done)
            raise

    def _execute(self, step: Step, seen: SeenVm) -> None:
        if step.action in ("discard", "remove_backup"):
            self.place.remove(self.wish.name, step.detail["backup"])
        elif step.action == "write":
            self._write(step)
        elif step.action == "publish":
            self.place.publish(self.wish.name, self._manifest(step))
        else:
            SNAPSHOT_EXECUTORS[step.action](self.snapshots, step, seen)

    def _undo(self, done: set[str]) -> None:
        """What cannot be undone now is found by the next run."""
        wish = self.wish
        with suppress(VirtfleetError):
            if "write" in done:
                self.place.remove(wish.name, wish.backup)
            if "snapshot" in done:
                volumes = [volume.name for volume in self.snapshots.store.volumes(wish.name, wish.id, False)[0]]
                detail = {"snapshot": wish.snapshot, "volumes": volumes}
                self.snapshots.remove(Step("remove_snapshot", wish.snapshot, detail), SeenVm(None, None, ()))

    def _write(self, step: Step) -> None:
        disk, base = step.detail["disk"], step.detail["from_snapshot"]
        snapshot = None if disk == SEED else self.wish.snapshot
        file = f"{disk}.rbd-diff"
        counter = Counter()
        with self.diffs.changes(step.target, base, snapshot) as (size, changed, pieces):
            progress = Progress(self.module, step.as_text(), "MiB", MIB)
            parts = write_stream(Header(base, snapshot, size), pieces)
            held = self.pace.hold(counter.count(parts), lambda passed: progress(passed, max(changed, passed)))
            self.place.write(self.wish.name, self.wish.backup, file, held)
        number = None if snapshot is None else self.diffs.snapshot_id(step.target, snapshot)
        part = Part(disk, size, file, counter.bytes, counter.sha256, base, snapshot, number)
        self.parts.append(replace(part, seed_sha256=self._seed_digest(step.target)) if disk == SEED else part)

    def _seed_digest(self, volume: str) -> str | None:
        facts = self.ceph.volume(volume)
        return facts.seed_sha256 if facts else None

    def _manifest(self, step: Step) -> Manifest:
        wish, params, detail = self.wish, self.module.params, step.detail
        volumes, records = self.snapshots.store.volumes(wish.name, wish.id, clones=False)
        snapshot = SeenVm(None, None, volumes, records).snapshot(wish.snapshot)
        if snapshot is None or snapshot.record is None:
            raise Conflict(f"Snapshot {wish.snapshot} is gone", "Somebody removed it meanwhile; run again.")
        return Manifest(
            backup=wish.backup,
            number=detail["number"],
            created_at=snapshot.view()["created_at"],
            kind=detail["kind"],
            parent=detail["parent"],
            reason=detail["reason"],
            guest=snapshot.record.guest,
            node=wish.node,
            vm={"name": wish.name, "id": wish.id, "mac": params["mac"], "request": params["request"]},
            parts=tuple(self.parts),
        )


def run_backup_module(module: AnsibleModule) -> None:
    """Make or remove one backup, and end the module."""
    begin = time.monotonic()
    wish = _wish(module.params)
    try:
        with storage(module) as (node, ceph):
            refuse_invalid_backup(wish, node.ceph_pool)
            with destination(wish.to, node) as place:
                result = _remove(module, wish, place) if wish.state == "absent" else _make(module, wish, ceph, place)
    except VirtfleetError as error:
        fail(module, error)
    result["timings_ms"] = result.get("timings_ms", {}) | {"total": round((time.monotonic() - begin) * 1000)}
    module.exit_json(**result)


def _make(module: AnsibleModule, wish: BackupWish, ceph: Ceph, place: BackupStorage) -> dict[str, Any]:
    asked = Wish(wish.name, wish.id, wish.node, "present", wish.snapshot, freeze=wish.freeze)
    with FreezingHypervisor(module.params["libvirt_uri"]) as hypervisor:
        run = BackupRun(module, wish, ceph, place, SnapshotRun(asked, ceph, SnapshotStore(ceph), hypervisor, 0))
        seen, kept, seed = run.observe()
        plan = decide_backup(wish, seen, kept, seed)
        if plan.changed and not module.check_mode:
            run.carry_out(plan, seen)
            kept = place.kept(wish.name)
    for old in stale(wish, seen, kept) if kept.of(wish.id) else ():
        for hindrance in old.hindrances():
            module.warn(f"{hindrance}; it stays, although no backup needs it")
    there = kept.get(wish.backup)
    domain = seen.domain.state if seen.domain else "stopped"
    return _result(wish, plan, kept) | {
        "vm": {"name": wish.name, "id": wish.id, "node": wish.node, "state": plan.after.get("state", domain)},
        "backup": there.view() if there else None,
        "timings_ms": run.snapshots.timings,
    }


def _remove(module: AnsibleModule, wish: BackupWish, place: BackupStorage) -> dict[str, Any]:
    plan = decide_removal(wish, place.kept(wish.name))
    if not module.check_mode:
        for step in plan.steps:
            place.remove(wish.name, step.detail["backup"])
    return _result(wish, plan, place.kept(wish.name)) | {"backup": None}


def _result(wish: BackupWish, plan: Plan, kept: Kept) -> dict[str, Any]:
    return {
        "changed": plan.changed,
        "backups": kept.views(),
        "actions": plan.actions,
        "diff": {"before": plan.before, "after": plan.after},
    }


def run_backup_info_module(module: AnsibleModule) -> None:
    """List backups, verify them where that is asked for, and end the module."""
    params = module.params
    found: list[dict[str, Any]] = []
    manifest: Manifest | None = None
    try:
        with storage(module) as (node, _ceph):
            with destination(params["to"], node) as place:
                for vm in place.vms() if params["name"] is None else [params["name"]]:
                    kept = place.kept(vm)
                    if params["backup"] is not None or params["newest"]:
                        manifest = kept.choose(vm, params["backup"])
                        kept = replace(kept, manifests=kept.chain(manifest)[0], partial=(), broken={})
                    found += [view | {"vm": vm} for view in kept.views()]
                    if params["verify"]:
                        _verify(module, place, vm, kept)
    except VirtfleetError as error:
        fail(module, error, backups=found)
    chosen = None if manifest is None else {"backup": manifest.backup, "vm": manifest.vm, "node": manifest.node}
    module.exit_json(changed=False, backups=found, chosen=chosen)


def _verify(module: AnsibleModule, place: BackupStorage, vm: str, kept: Kept) -> None:
    pace = Pace(module.params["rate"], module.params["timeout"])
    progress = Progress(module, f"verify {vm}", "MiB", MIB)
    verify(place, vm, kept, kept.manifests, pace, lambda passed: progress(passed, None))


def _wish(params: dict[str, Any]) -> BackupWish:
    return BackupWish(
        name=params["name"],
        id=params["id"] or "",
        node=params["node"] or os.uname().nodename,
        to=params["to"],
        backup=params["backup"] or time.strftime("%Y%m%d-%H%M%Sz", time.gmtime()),
        state=params["state"],
        kind=params["kind"],
        full_every=params["full_every"],
        keep=params["keep"],
        freeze=params["freeze"],
    )
