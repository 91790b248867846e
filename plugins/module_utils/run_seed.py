# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_seed does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from . import cloud_init
from .ceph import Ceph
from .cloud_config import parse_user_data
from .domain_xml import NodeConfig, seed_drive_xml
from .errors import VirtfleetError
from .hypervisor_seed import SeedHypervisor
from .plan_types import Step
from .run import carry_out, fail, shut_down, storage
from .seed_plan import SeedWish, SeenSeed, decide_seed
from .spec import parse_request


class SeedRun:
    """The seed of one VM: everything that the steps of a plan need."""

    def __init__(self, params: dict[str, Any], node: NodeConfig, ceph: Ceph, hypervisor: SeedHypervisor) -> None:
        self.params = params
        self.node = node
        self.ceph = ceph
        self.hypervisor = hypervisor
        self.files = _files(params)
        self.wish = SeedWish(
            name=params["name"],
            id=params["id"],
            node=params["node"] or os.uname().nodename,
            state=params["state"],
            seed_sha256=cloud_init.seed_digest(self.files),
            allow_power_cycle=params["allow_power_cycle"],
            force=params["force"],
        )

    def observe(self) -> SeenSeed:
        """Read everything that the plan is decided by."""
        wish = self.wish
        return SeenSeed(self.hypervisor.domain(wish.name), self.ceph.owner(wish.id), self.ceph.volume(wish.seed_volume))

    def write(self, volume: str) -> None:
        self.ceph.write_seed(volume, cloud_init.seed_image(self.files), self.wish.id, self.wish.seed_sha256)

    def change_medium(self, step: Step, volume: str | None) -> None:
        drive = seed_drive_xml(volume, self.ceph.monitors() if volume else (), self.node)
        self.hypervisor.change_medium(self.wish.name, drive, step.detail["defined"], step.detail["live"])


EXECUTORS: dict[str, Callable[[SeedRun, Step], None]] = {
    "wait_for_first_boot": lambda run, step: run.hypervisor.wait_for_first_boot(
        step.target, run.params["instance_id"] or run.wish.id, run.params["wait_timeout"]
    ),
    "write_seed": lambda run, step: run.write(step.target),
    "insert_seed": lambda run, step: run.change_medium(step, step.target),
    "eject_seed": lambda run, step: run.change_medium(step, None),
    "shut_down": lambda run, step: shut_down(run.hypervisor, step.target, run.params["shutdown_timeout"]),
    "power_off": lambda run, step: run.hypervisor.power_off(step.target),
    "start": lambda run, step: run.hypervisor.start(step.target, run.ceph.monitors()),
}


def run_seed_module(module: AnsibleModule) -> None:
    """Write, wipe or lock the seed of one VM, and end the module."""
    try:
        with (
            storage(module) as (node, ceph),
            SeedHypervisor(module.params["libvirt_uri"]) as hypervisor,
        ):
            run = SeedRun(module.params, node, ceph, hypervisor)
            plan = decide_seed(run.wish, run.observe())
            timings = {} if module.check_mode else carry_out(plan, lambda step: EXECUTORS[step.action](run, step))
    except VirtfleetError as error:
        fail(module, error)
    module.exit_json(
        changed=plan.changed,
        vm={"name": run.wish.name, "id": run.wish.id, "node": run.wish.node, "state": plan.after["state"]},
        actions=plan.actions,
        restart_required=plan.restart_required,
        diff={"before": plan.before, "after": plan.after},
        timings_ms=timings,
    )


def _files(params: dict[str, Any]) -> dict[str, str]:
    spec = parse_request(
        {
            "name": params["name"],
            "cpu": params["vcpus"],
            "cpu_max": params["vcpus_max"],
            "disks": params["disks"],
            "networks": params["networks"],
            "guest_user": params["guest_user"],
            "ssh_authorized_keys": params["ssh_authorized_keys"],
            "user_data": parse_user_data(params["user_data"]),
        }
    )
    files = cloud_init.documents(replace(spec, copied=params["copied"]), params["instance_id"] or params["id"])
    return cloud_init.wiped(files) if params["state"] == "wiped" else files
