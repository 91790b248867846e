# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules virt_rbd_snapshot and virt_rbd_snapshot_info do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .ceph import Ceph
from .ceph_snapshot import SnapshotStore
from .errors import Unreachable, VirtfleetError
from .hypervisor_freeze import FreezingHypervisor
from .plan_types import DomainFacts, Plan, Step
from .run import fail, storage
from .snapshot_plan import Record, SeenVm, Wish, beyond, decide_snapshot, refuse_invalid


class SnapshotRun:
    """The snapshots of one VM: everything that the steps of a plan need."""

    def __init__(
        self, wish: Wish, ceph: Ceph, store: SnapshotStore, hypervisor: FreezingHypervisor, shutdown_timeout: int
    ) -> None:
        self.wish = wish
        self.ceph = ceph
        self.store = store
        self.hypervisor = hypervisor
        self.shutdown_timeout = shutdown_timeout
        self.timings: dict[str, int] = {}

    def observe(self) -> SeenVm:
        """Read everything that the plan is decided by."""
        wish = self.wish
        with self.timed("observe"):
            removes = wish.state == "absent" or wish.keep is not None
            volumes, records = self.store.volumes(wish.name, wish.id, clones=removes)
            seen = SeenVm(self.hypervisor.domain(wish.name), self.ceph.owner(wish.id), volumes, records)
            return replace(seen, unchanged=self._unchanged(seen))

    def _unchanged(self, seen: SeenVm) -> frozenset[str]:
        wish = self.wish
        # What a guest has in its caches is not known here.
        if wish.state != "rolled_back" or seen.domain is None or seen.domain.state != "stopped":
            return frozenset()
        volumes = [volume for volume in seen.volumes if wish.snapshot in volume.snapshots and not volume.watchers]
        return frozenset(volume.name for volume in volumes if self.store.same(volume.name, wish.snapshot))

    def carry_out(self, plan: Plan, seen: SeenVm) -> None:
        """Do every step."""
        for step in plan.steps:
            with self.timed(step.action):
                EXECUTORS[step.action](self, step, seen)

    def snapshot(self, step: Step, seen: SeenVm) -> None:
        """Make the snapshot of all volumes while nothing is written to them."""
        volumes, name = step.detail["volumes"], step.detail["snapshot"]
        record = Record(tuple(volumes), _power(self.hypervisor.domain(self.wish.name)))
        with self.held(name, record) as held:
            with self.timed("create"):
                self.store.create(volumes, name)
        self.store.write_record(self.wish.root_volume, name, replace(held, done=True, hold=None))

    @contextmanager
    def held(self, snapshot: str, record: Record) -> Iterator[Record]:
        """Hold a running guest: frozen by its agent, else paused where there is more than one volume.

        How it is held is recorded beforehand, so that the run after one that was cut off lets it go.
        """
        frozen = record.guest == "running" and self._freeze(snapshot, record)
        if frozen:
            with always(self._thaw):
                yield replace(record, guest="frozen")
        elif record.guest == "running" and len(record.volumes) > 1:
            self.store.write_record(self.wish.root_volume, snapshot, replace(record, hold="pause"))
            with always(lambda: self.hypervisor.unpause(self.wish.name)):
                self.hypervisor.suspend(self.wish.name)
                yield replace(record, guest="paused")
        else:
            self.store.write_record(self.wish.root_volume, snapshot, record)
            yield record

    def _freeze(self, snapshot: str, record: Record) -> bool:
        if self.wish.freeze == "never":
            return False
        self.store.write_record(self.wish.root_volume, snapshot, replace(record, hold="freeze"))
        with self.timed("freeze"):
            frozen = self.hypervisor.freeze(self.wish.name)
        if not frozen and self.wish.freeze == "required":
            self.store.forget_record(self.wish.root_volume, snapshot)
            raise Unreachable(
                f"The guest of {self.wish.name} was not frozen: its agent does not answer, or refuses",
                "Start qemu-guest-agent in the guest, or do without (freeze=auto).",
            )
        return frozen

    def _thaw(self) -> None:
        with self.timed("thaw"):
            self.hypervisor.thaw(self.wish.name)

    def let_go(self, step: Step, seen: SeenVm) -> None:
        """Thaw or resume what a run that was cut off left held."""
        act = self.hypervisor.thaw if step.action == "thaw" else self.hypervisor.unpause
        act(self.wish.name)
        for name, record in seen.records.items():
            if record.hold:
                self.store.write_record(self.wish.root_volume, name, replace(record, hold=None))

    def remove(self, step: Step, seen: SeenVm) -> None:
        """Take a snapshot away from all volumes, and its record last."""
        name = step.detail["snapshot"]
        for volume in step.detail["volumes"]:
            self.store.remove(volume, name)
        self.store.forget_record(self.wish.root_volume, name)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the milliseconds that something takes to the timings."""
        begin = time.monotonic()
        yield
        self.timings[what] = self.timings.get(what, 0) + round((time.monotonic() - begin) * 1000)


EXECUTORS: dict[str, Callable[[SnapshotRun, Step, SeenVm], None]] = {
    "snapshot": SnapshotRun.snapshot,
    "thaw": SnapshotRun.let_go,
    "resume": SnapshotRun.let_go,
    "remove_snapshot": SnapshotRun.remove,
    "roll_back": lambda run, step, seen: run.store.roll_back(
        step.detail["volume"], run.wish.snapshot, step.detail["size_bytes"]
    ),
    "shut_down_or_power_off": lambda run, step, seen: run.hypervisor.shut_down_or_power_off(
        step.target, run.shutdown_timeout
    ),
    "start": lambda run, step, seen: run.hypervisor.start(step.target, run.ceph.monitors()),
}


@contextmanager
def always(release: Callable[[], None]) -> Iterator[None]:
    """Let the guest go whatever happens; when that fails too, both failures are told."""
    failure: VirtfleetError | None = None
    try:
        yield
    except VirtfleetError as error:
        failure = error
        raise
    finally:
        try:
            release()
        except VirtfleetError as stuck:
            problems = [failure.message] if failure else []
            raise VirtfleetError(stuck.code, stuck.message, stuck.hint, problems) from None


def _power(domain: DomainFacts | None) -> str:
    return "stopped" if domain is None else domain.state


def run_snapshot_module(module: AnsibleModule) -> None:
    """Make, remove or go back to a snapshot of one VM, and end the module."""
    begin = time.monotonic()
    params = module.params
    wish = _wish(params)
    try:
        refuse_invalid(wish)
        with storage(module) as (_node, ceph), FreezingHypervisor(params["libvirt_uri"]) as hypervisor:
            run = SnapshotRun(wish, ceph, SnapshotStore(ceph), hypervisor, params["shutdown_timeout"])
            seen = run.observe()
            plan = decide_snapshot(wish, seen)
            if any(step.action == "snapshot" for step in plan.steps):
                # With the guest held still, Ceph would wait for room.
                ceph.refuse_full("nothing was done")
            after = seen
            if plan.changed and not module.check_mode:
                run.carry_out(plan, seen)
                volumes, records = run.store.volumes(wish.name, wish.id, clones=False)
                after = replace(seen, volumes=volumes, records=records)
    except VirtfleetError as error:
        fail(module, error)
    for kept in beyond(wish, seen):
        for hindrance in kept.hindrances():
            module.warn(f"{wish.target(kept.name)} is beyond keep={wish.keep} and stays: {hindrance}")
    run.timings["total"] = round((time.monotonic() - begin) * 1000)
    there = after.snapshot(wish.snapshot)
    module.exit_json(
        changed=plan.changed,
        vm={"name": wish.name, "id": wish.id, "node": wish.node, "state": plan.after["state"]},
        snapshot=there.view() if there else None,
        snapshots=[found.view() for found in after.snapshots()],
        actions=plan.actions,
        diff={"before": plan.before, "after": plan.after},
        timings_ms=run.timings,
    )


def run_snapshot_info_module(module: AnsibleModule) -> None:
    """List the snapshots of one VM, and end the module."""
    params = module.params
    try:
        with storage(module) as (_node, ceph):
            store = SnapshotStore(ceph)
            volumes, records = store.volumes(params["name"], params["id"], clones=True)
            seen = SeenVm(None, None, tuple(store.with_usage(volume) for volume in volumes), records)
    except VirtfleetError as error:
        fail(module, error)
    module.exit_json(changed=False, snapshots=[found.view() for found in seen.snapshots()])


def _wish(params: dict[str, Any]) -> Wish:
    return Wish(
        name=params["name"],
        id=params["id"],
        node=params["node"] or os.uname().nodename,
        state=params["state"],
        snapshot=params["snapshot"] or time.strftime("%Y%m%d-%H%M%Sz", time.gmtime()),
        keep=params["keep"],
        freeze=params["freeze"],
        allow_power_cycle=params["allow_power_cycle"],
        start=params["start"],
    )
