# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_restore does."""

from __future__ import annotations

import os
from functools import partial

from ansible.module_utils.basic import AnsibleModule

from .backup_manifest import SEED, Kept, Manifest, streams
from .backup_storage import BackupStorage
from .backup_streams import checked, verify
from .ceph import Ceph
from .ceph_diff import VolumeDiffs
from .errors import Invalid, VirtfleetError
from .field_reader import name_problem
from .pace import MIB, Pace
from .plan_types import Plan, Step
from .progress import Progress
from .restore_plan import RestoreWish, SeenVolume, decide_restore, restored_disks, source_of
from .run import fail, storage
from .run_backup import destination


class RestoreRun:
    """The volumes of one VM: everything that the steps of their plan need.

    Attributes:
        untouched: there is nothing of this VM in the pool, so that its claim can be given up.
    """

    def __init__(
        self, module: AnsibleModule, wish: RestoreWish, ceph: Ceph, place: BackupStorage, kept: Kept, manifest: Manifest
    ) -> None:
        self.module = module
        self.wish = wish
        self.ceph = ceph
        self.place = place
        self.kept = kept
        self.manifest = manifest
        self.diffs = VolumeDiffs(ceph)
        self.untouched = True
        self.pace = Pace(module.params["rate"], module.params["timeout"])

    def observe(self) -> tuple[str | None, dict[str, SeenVolume | None]]:
        """The owner of the VM, and its volumes that are there already."""
        names = [f"{self.wish.name}.{disk}" for disk in restored_disks(self.wish, self.manifest)]
        return self.ceph.owner(self.wish.id), {name: self.diffs.seen(name) for name in names}

    def carry_out(self, plan: Plan) -> None:
        """Do every step; nothing is touched before the whole chain was read and found good."""
        if not plan.changed:
            return
        vm = self.manifest.vm["name"]
        progress = Progress(self.module, f"verify {vm}", "MiB", MIB)
        verify(self.place, vm, self.kept, [self.manifest], self.pace, lambda passed: progress(passed, None))
        took = restored = False
        try:
            for step in plan.steps:
                if step.action == "take_ownership":
                    self.ceph.take_ownership(self.wish.id, self.wish.node)
                    took = True
                else:
                    self.untouched = False
                    self._restore(step)
                    restored = True
        except VirtfleetError:
            if took and not restored:
                self.ceph.release_ownership(self.wish.id)
                self.untouched = True
            raise

    def _restore(self, step: Step) -> None:
        disk = step.detail["disk"]
        chain, _problems = self.kept.chain(self.manifest)
        links = streams(chain, disk)
        total = sum(part.bytes for _link, part in links)
        progress = Progress(self.module, step.as_text(), "MiB", MIB)
        seed_sha256 = links[-1][1].seed_sha256 if disk == SEED else None
        with self.diffs.new(step.target, self.wish.id, source_of(self.manifest), seed_sha256) as volume:
            before = 0
            for link, part in links:
                report = partial(_report, progress, before, total)
                volume.apply(*checked(self.place, self.manifest.vm["name"], link, part, self.pace, report))
                before += part.bytes


def _report(progress: Progress, before: int, total: int, passed: int) -> None:
    progress(before + passed, total)


def run_restore_module(module: AnsibleModule) -> None:
    """Make the volumes of one VM from a backup, and end the module."""
    params = module.params
    wish = RestoreWish(params["name"], params["id"], params["node"] or os.uname().nodename)
    run: RestoreRun | None = None
    try:
        problem = name_problem(wish.name)
        if problem:
            raise Invalid([problem])
        with storage(module) as (node, ceph):
            with destination(params["to"], node) as place:
                source = params["source"] or wish.name
                kept = place.kept(source)
                manifest = kept.choose(source, params["backup"])
                run = RestoreRun(module, wish, ceph, place, kept, manifest)
                owner, volumes = run.observe()
                run.untouched = owner is None
                plan = decide_restore(wish, manifest, owner, volumes)
                if not module.check_mode:
                    run.carry_out(plan)
    except VirtfleetError as error:
        fail(module, error, untouched=run is None or run.untouched)
    module.exit_json(
        changed=plan.changed,
        backup=manifest.view(),
        actions=plan.actions,
        diff={"before": plan.before, "after": plan.after},
    )
