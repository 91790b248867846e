# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, decide, carry out, report: what the node-side modules do. The only place that ends a module."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from . import cloud_init, domain_xml
from .ceph import Ceph
from .errors import NotFound, VirtfleetError
from .hypervisor import Hypervisor
from .node_config import read_node_config
from .plan import Build, Desired, Observed, Plan, Step, decide
from .spec import VmSpec, digest, parse_request

DAY_SECONDS = 86400


class VmRun:
    """One VM on one node: everything that the steps of a plan need."""

    def __init__(self, params: dict[str, Any], node: domain_xml.NodeConfig, ceph: Ceph, hypervisor: Hypervisor) -> None:
        self.params = params
        self.node = node
        self.ceph = ceph
        self.hypervisor = hypervisor
        self.spec = _requested(params)
        self.seed_files = cloud_init.documents(self.spec, params["id"], params["mac"]) if self.spec else {}
        self.desired = self._desired()

    def _desired(self) -> Desired:
        params = self.params
        build = None
        if self.spec is not None:
            build = Build(self.spec.image, self.spec.disk_gib, cloud_init.seed_digest(self.seed_files))
        return Desired(
            name=params["name"],
            id=params["id"],
            node=params["node"] or os.uname().nodename,
            state=params["state"],
            build=build,
            force=params["force"],
            purge=params["purge"],
        )

    def observe(self) -> Observed:
        """Read everything that the plan is decided by."""
        desired = self.desired
        return Observed(
            domain=self.hypervisor.domain(desired.name),
            root=self.ceph.volume(desired.root_volume),
            seed=self.ceph.volume(desired.seed_volume),
            image=self.ceph.image(desired.build.image) if desired.build else None,
            owner=self.ceph.owner(desired.id),
        )

    def carry_out(self, plan: Plan) -> dict[str, int]:
        """Do every step; the milliseconds that each action took."""
        timings: dict[str, int] = {}
        for step in plan.steps:
            begin = time.monotonic()
            EXECUTORS[step.action](self, step)
            timings[step.action] = timings.get(step.action, 0) + round((time.monotonic() - begin) * 1000)
        return timings

    @property
    def request_sha256(self) -> str:
        """The digest of what was asked for, kept with the domain and with the root volume."""
        fields = ("memory_mib", "vcpus", "disk_gib", "image", "mac")
        return digest([self.params[field] for field in fields])

    def domain_xml(self) -> str:
        """The XML of this VM's domain."""
        spec = self.spec
        if spec is None:
            raise NotFound(f"VM {self.desired.name} has no domain here", "Run create_vm.yml with the same name.")
        domain = domain_xml.Domain(
            name=spec.name,
            id=self.desired.id,
            project=spec.project,
            image=spec.image,
            memory_mib=spec.memory_mib,
            vcpus=spec.vcpus,
            mac=self.params["mac"],
            root_volume=self.desired.root_volume,
            seed_volume=self.desired.seed_volume,
            monitors=self.ceph.monitors(),
            request_sha256=self.request_sha256,
        )
        return domain_xml.render(domain, self.node)

    def write_seed(self, volume: str) -> None:
        content = cloud_init.seed_image(self.seed_files)
        self.ceph.write_seed(volume, content, self.desired.id, cloud_init.seed_digest(self.seed_files))

    def shut_down(self) -> None:
        seconds = self.params["shutdown_timeout"]
        if not self.hypervisor.shut_down(self.desired.name, seconds):
            raise VirtfleetError(
                "needs_consent",
                f"The guest of {self.desired.name} did not shut down within {seconds} s",
                "Wait and run again, or give force=true to cut its power.",
            )

    def shut_down_or_power_off(self) -> None:
        if not self.hypervisor.shut_down(self.desired.name, self.params["shutdown_timeout"]):
            self.hypervisor.power_off(self.desired.name)


EXECUTORS: dict[str, Callable[[VmRun, Step], None]] = {
    "take_ownership": lambda run, step: run.ceph.take_ownership(run.desired.id, run.desired.node),
    "release_ownership": lambda run, step: run.ceph.release_ownership(run.desired.id),
    "clone": lambda run, step: run.ceph.clone(step.detail["image"], step.detail["snapshot"], step.target),
    "grow": lambda run, step: run.ceph.grow(step.target, step.detail["size_bytes"]),
    "mark": lambda run, step: run.ceph.mark(step.target, run.desired.id, run.request_sha256),
    "write_seed": lambda run, step: run.write_seed(step.target),
    "trash": lambda run, step: run.ceph.trash(step.target, run.params["retention_days"] * DAY_SECONDS),
    "remove": lambda run, step: run.ceph.remove(step.target),
    "define": lambda run, step: run.hypervisor.define(run.domain_xml()),
    "start": lambda run, step: run.hypervisor.start(step.target),
    "resume": lambda run, step: run.hypervisor.resume(step.target),
    "suspend": lambda run, step: run.hypervisor.suspend(step.target),
    "shut_down": lambda run, step: run.shut_down(),
    "power_off": lambda run, step: run.hypervisor.power_off(step.target),
    "shut_down_or_power_off": lambda run, step: run.shut_down_or_power_off(),
    "undefine": lambda run, step: run.hypervisor.undefine(step.target),
}


def run_vm_module(module: AnsibleModule) -> None:
    """Bring one VM into the state asked for, and end the module."""
    begin = time.monotonic()
    try:
        node = read_node_config(module.params["node_config"])
        with (
            Ceph(node.ceph_conf, node.ceph_client, node.ceph_pool) as ceph,
            Hypervisor(module.params["libvirt_uri"]) as hypervisor,
        ):
            run = VmRun(module.params, node, ceph, hypervisor)
            plan = decide(run.desired, run.observe())
            timings = {"observe": round((time.monotonic() - begin) * 1000)}
            if not module.check_mode:
                timings.update(run.carry_out(plan))
    except VirtfleetError as error:
        fail(module, error)
    timings["total"] = round((time.monotonic() - begin) * 1000)
    module.exit_json(
        changed=plan.changed,
        vm=vm_view(run, plan),
        actions=plan.actions,
        diff={"before": plan.before, "after": plan.after},
        timings_ms=timings,
    )


def run_vm_info_module(module: AnsibleModule) -> None:
    """Report the VMs of this node and its capacity, and end the module."""
    names = module.params["names"]
    try:
        with Hypervisor(module.params["libvirt_uri"]) as hypervisor:
            ours = {name: facts for name, facts in hypervisor.domains().items() if facts.owned_id}
            wanted = ours if names is None else {name: ours[name] for name in names if name in ours}
            vms = [
                {"name": name, "id": facts.owned_id, "state": facts.state, "ip": hypervisor.address(name)}
                for name, facts in sorted(wanted.items())
            ]
            module.exit_json(changed=False, vms=vms, capacity=hypervisor.capacity())
    except VirtfleetError as error:
        fail(module, error)


def fail(module: AnsibleModule, error: VirtfleetError, **known: Any) -> None:
    """End the module with the error in its one shape, and with what is known all the same."""
    module.fail_json(msg=str(error), error=error.as_result(), **known)


def vm_view(run: VmRun, plan: Plan) -> dict[str, Any]:
    """The `vm` of the result; what only the registry knows (created_at, ip) is filled in there."""
    view: dict[str, Any] = {
        "name": run.desired.name,
        "id": run.desired.id,
        "node": run.desired.node,
        "state": plan.after["state"],
        "console": f"virsh -c {run.params['libvirt_uri']} console {run.desired.name}",
    }
    if run.spec is not None:
        view |= {
            "project": run.spec.project,
            "memory_mib": run.spec.memory_mib,
            "vcpus": run.spec.vcpus,
            "disk_gib": run.spec.disk_gib,
            "image": run.spec.image,
            "mac": run.params["mac"],
        }
    return view


def _requested(params: dict[str, Any]) -> VmSpec | None:
    """The VM to build where it is missing, or None when only an existing one is to be acted on."""
    if params["image"] is None:
        return None
    return parse_request(
        {
            "name": params["name"],
            "project": params["project"],
            "ram": params["memory_mib"],
            "cpu": params["vcpus"],
            "disk": params["disk_gib"],
            "image": params["image"],
            "ssh_authorized_keys": params["ssh_authorized_keys"],
            "user_data": cloud_init.parse_user_data(params["user_data"]),
        }
    )
