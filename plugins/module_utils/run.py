# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, decide, carry out, report: what the node-side modules do. The only place that ends a module."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from . import cloud_init, domain_xml
from .ceph import Ceph, Marks
from .ceph_snapshot import SnapshotStore
from .ceph_trash import Trash
from .clone_plan import cloned_snapshot, source_snapshots
from .cloud_config import parse_user_data
from .errors import NotFound, VirtfleetError
from .hypervisor import Hypervisor
from .node_config import read_node_config
from .plan import decide
from .plan_types import Build, Desired, Hardware, Observed, Plan, Sizes, SourceSnapshot, Step, VolumeFacts
from .snapshot_plan import clear_snapshots
from .spec import Source, VmSpec, canonical, digest, parse_disks, parse_request

DAY_SECONDS = 86400
NEEDS_ROOM = ("clone", "clone_volume", "create_disk", "grow", "grow_online", "write_seed")


class VmRun:
    """One VM on one node: everything that the steps of a plan need."""

    def __init__(self, params: dict[str, Any], node: domain_xml.NodeConfig, ceph: Ceph, hypervisor: Hypervisor) -> None:
        self.params = params
        self.node = node
        self.ceph = ceph
        self.trash = Trash(ceph)
        self.hypervisor = hypervisor
        self.spec = _requested(params)
        self.seed_files = cloud_init.documents(self.spec, params["id"]) if self.spec else {}
        self.desired = self._desired()

    def _desired(self) -> Desired:
        params = self.params
        build = None
        if self.spec is not None:
            build = Build(
                self.spec.image,
                self.spec.disk_gib,
                cloud_init.seed_digest(self.seed_files),
                tuple(nic.link or self.node.link for nic in self.spec.nics),
                any(nic.vlan for nic in self.spec.nics),
                self.spec.source,
            )
        return Desired(
            sizes=self._sizes(),
            allow_power_cycle=params["allow_power_cycle"],
            remove_detached=params["remove_detached"],
            restore=params["restore"] or params["restored"],
            name=params["name"],
            id=params["id"],
            node=params["node"] or os.uname().nodename,
            state=params["state"],
            build=build,
            force=params["force"],
            purge=params["purge"],
            record=None if params["record"] is None else canonical(params["record"]),
        )

    def _sizes(self) -> Sizes:
        """What a VM that is there must have, of what was given."""
        params = self.params
        hardware = None
        if params["memory_mib"] is not None and params["vcpus"] is not None:
            memory, vcpus = params["memory_mib"], params["vcpus"]
            hardware = Hardware(
                memory, max(memory, params["memory_max_mib"] or 0), vcpus, max(vcpus, params["vcpus_max"] or 0)
            )
        disks = None if params["disks"] is None else parse_disks(params["disks"])
        return Sizes(hardware, params["disk_gib"], disks)

    def observe(self) -> Observed:
        """Read everything that the plan is decided by."""
        desired = self.desired
        domain = self.hypervisor.domain(desired.name)
        build = desired.build if domain is None else None
        return Observed(
            domain=domain,
            trashed=self.trash.volumes(desired.name) if self.params["restore"] and domain is None else (),
            others=self._others(domain is not None),
            root=self.ceph.volume(desired.root_volume),
            seed=self.ceph.volume(desired.seed_volume),
            image=self.ceph.image(desired.build.image) if desired.build and not desired.build.source else None,
            owner=self.ceph.owner(desired.id),
            links=self.hypervisor.links() if build else frozenset(),
            tags_vlans=build is not None and build.vlans and self.hypervisor.tags_vlans(),
            unnamed=self.ceph.unnamed(desired.id) if desired.state == "absent" else (),
            snapshots=self._source_snapshots() if domain is None else (),
        )

    def _source_snapshots(self) -> tuple[SourceSnapshot, ...]:
        """The snapshots of the VM that this one is to be cloned from."""
        source = self.desired.build.source if self.desired.build else None
        if source is None or self.desired.state == "absent":
            return ()
        return source_snapshots(source, *SnapshotStore(self.ceph).volumes(source.name, source.id, clones=False))

    def _others(self, there: bool) -> Mapping[str, VolumeFacts]:
        """The volumes beside root and seed; the pool is not listed where only those asked for matter."""
        desired, disks = self.desired, self.desired.sizes.disks
        if desired.state == "absent" or (there and disks is not None):
            return self.ceph.volumes(desired.name)
        found = {desired.volume(disk.name): self.ceph.volume(desired.volume(disk.name)) for disk in disks or ()}
        return {name: volume for name, volume in found.items() if volume is not None}

    def decide(self) -> Plan:
        """The plan; what is removed for good loses its snapshots first."""
        plan = decide(self.desired, self.observe())
        if any(step.action in NEEDS_ROOM for step in plan.steps):
            # A QEMU that is to grow a volume would wait for room with its libvirt.
            self.ceph.refuse_full("nothing was done")
        removed = [step.target for step in plan.steps if step.action == "remove"]
        return clear_snapshots(plan, *SnapshotStore(self.ceph).read(removed, clones=True)) if removed else plan

    @property
    def request_sha256(self) -> str:
        """The digest of what was asked for, kept with the domain and with the root volume."""
        sizes = self.desired.sizes
        return digest([sizes.hardware and asdict(sizes.hardware), [disk.as_dict() for disk in sizes.disks or ()]])

    @property
    def marks(self) -> Marks:
        return Marks(self.desired.id, self.request_sha256)

    def domain_xml(self) -> str:
        """The XML of this VM's domain."""
        spec = self.spec
        if spec is None:
            raise NotFound(f"VM {self.desired.name} has no domain here", "Run create_vm.yml with the same name.")
        sizes = self.desired.sizes
        hardware = sizes.hardware or Hardware(spec.memory_mib, spec.memory_mib, spec.vcpus, spec.vcpus)
        domain = domain_xml.Domain(
            name=spec.name,
            id=self.desired.id,
            project=spec.project,
            image=spec.image,
            memory_mib=hardware.memory_mib,
            memory_max_mib=hardware.memory_max_mib,
            vcpus=hardware.vcpus,
            vcpus_max=hardware.vcpus_max,
            disks=tuple(
                domain_xml.DiskDevice(self.desired.volume(disk.name), disk.serial) for disk in sizes.disks or ()
            ),
            nics=spec.nics,
            root_volume=self.desired.root_volume,
            seed_volume=self.desired.seed_volume,
            monitors=self.ceph.monitors(),
            request_sha256=self.request_sha256,
        )
        return domain_xml.render(domain, self.node)

    def write_seed(self, volume: str) -> None:
        content = cloud_init.seed_image(self.seed_files)
        self.ceph.write_seed(volume, content, self.desired.id, cloud_init.seed_digest(self.seed_files))

    def attach(self, step: Step) -> None:
        device = domain_xml.DiskDevice(step.target, step.detail["serial"])
        monitors = self.ceph.monitors()
        self.hypervisor.attach(
            self.desired.name,
            lambda xml: domain_xml.data_disk_xml(xml, device, monitors, self.node),
            step.detail["defined"],
            step.detail["live"],
        )

    def detach(self, step: Step) -> None:
        name = self.desired.name
        if not self.hypervisor.detach(name, step.target, step.detail["defined"], step.detail["live"]):
            refused = VirtfleetError(
                "timeout",
                f"The guest of {name} does not let go of {step.target}",
                "Unmount it in the guest, wait until the guest has booted, and run again; nothing was removed.",
            )
            refused.untouched = True
            raise refused

    def remove_snapshots(self, volume: str, snapshots: list[str]) -> None:
        store = SnapshotStore(self.ceph)
        for snapshot in snapshots:
            store.remove(volume, snapshot)


EXECUTORS: dict[str, Callable[[VmRun, Step], None]] = {
    "take_ownership": lambda run, step: run.ceph.take_ownership(run.desired.id, run.desired.node),
    "release_ownership": lambda run, step: run.ceph.release_ownership(run.desired.id),
    "clone": lambda run, step: run.ceph.clone(step.detail["image"], step.detail["snapshot"], step.target),
    "grow": lambda run, step: run.ceph.grow(step.target, step.detail["size_bytes"]),
    "grow_online": lambda run, step: run.hypervisor.grow_online(
        run.desired.name, step.target, step.detail["size_bytes"]
    ),
    "clone_volume": lambda run, step: run.ceph.clone_volume(
        step.detail["volume"], step.detail["snapshot"], step.target, step.detail["size_bytes"], run.marks
    ),
    "create_disk": lambda run, step: run.ceph.create_disk(step.target, step.detail["size_bytes"], run.desired.id),
    "attach": lambda run, step: run.attach(step),
    "detach": lambda run, step: run.detach(step),
    "redefine": lambda run, step: run.hypervisor.redefine(step.target, step.detail["hardware"], run.request_sha256),
    "set_memory": lambda run, step: run.hypervisor.set_memory(step.target, step.detail["memory_mib"]),
    "set_vcpus": lambda run, step: run.hypervisor.set_vcpus(step.target, step.detail["vcpus"]),
    "restore": lambda run, step: run.trash.restore(step.detail["volume"]),
    "mark": lambda run, step: run.ceph.mark(step.target, run.desired.id, run.request_sha256, run.desired.record),
    "keep_record": lambda run, step: run.ceph.keep_record(step.target, run.desired.record or ""),
    "write_seed": lambda run, step: run.write_seed(step.target),
    "trash": lambda run, step: run.ceph.trash(step.target, run.params["retention_days"] * DAY_SECONDS),
    "remove_snapshots": lambda run, step: run.remove_snapshots(step.target, step.detail["snapshots"]),
    "remove": lambda run, step: run.ceph.remove(step.target),
    "define": lambda run, step: run.hypervisor.define(run.domain_xml()),
    "start": lambda run, step: run.hypervisor.start(step.target, run.ceph.monitors()),
    "resume": lambda run, step: run.hypervisor.resume(step.target),
    "suspend": lambda run, step: run.hypervisor.suspend(step.target),
    "shut_down": lambda run, step: shut_down(run.hypervisor, step.target, run.params["shutdown_timeout"]),
    "power_off": lambda run, step: run.hypervisor.power_off(step.target),
    "shut_down_or_power_off": lambda run, step: run.hypervisor.shut_down_or_power_off(
        step.target, run.params["shutdown_timeout"]
    ),
    "undefine": lambda run, step: run.hypervisor.undefine(step.target),
}


def bring_about(
    params: dict[str, Any], node: domain_xml.NodeConfig, ceph: Ceph, hypervisor: Hypervisor, check: bool
) -> dict[str, Any]:
    """Bring one VM into the state asked for, or say what would be done; returns the result.

    Raises:
        VirtfleetError: it is refused, or a step failed.
    """
    begin = time.monotonic()
    run = VmRun(params, node, ceph, hypervisor)
    try:
        plan = run.decide()
    except VirtfleetError as error:
        error.untouched = True
        raise
    timings = {"observe": round((time.monotonic() - begin) * 1000)}
    if not check:
        timings |= carry_out(plan, lambda step: EXECUTORS[step.action](run, step))
    timings["total"] = round((time.monotonic() - begin) * 1000)
    return {
        "changed": plan.changed,
        "vm": vm_view(run, plan),
        "snapshot": cloned_snapshot(run.desired, plan),
        "actions": plan.actions,
        "restart_required": plan.restart_required,
        "diff": {"before": plan.before, "after": plan.after},
        "timings_ms": timings,
    }


def run_vm_module(module: AnsibleModule) -> None:
    """Bring one VM into the state asked for, and end the module."""
    begin = time.monotonic()
    try:
        with adapters(module) as (node, ceph, hypervisor):
            result = bring_about(module.params, node, ceph, hypervisor, module.check_mode)
    except VirtfleetError as error:
        fail(module, error, untouched=error.untouched)
    # With the time for connecting.
    result["timings_ms"]["total"] = round((time.monotonic() - begin) * 1000)
    module.exit_json(**result)


def shut_down(hypervisor: Hypervisor, name: str, seconds: int) -> None:
    """Ask the guest to shut down.

    Raises:
        VirtfleetError: needs_consent, when it did not within the time.
    """
    if not hypervisor.shut_down(name, seconds):
        raise VirtfleetError(
            "needs_consent",
            f"The guest of {name} did not shut down within {seconds} s",
            "Wait and run again, or give force=true to cut its power.",
        )


def carry_out(plan: Plan, execute: Callable[[Step], None]) -> dict[str, int]:
    """Do every step; the milliseconds that each action took."""
    timings: dict[str, int] = {}
    for number, step in enumerate(plan.steps):
        begin = time.monotonic()
        try:
            execute(step)
        except VirtfleetError as error:
            error.untouched = error.untouched and number == 0
            raise
        timings[step.action] = timings.get(step.action, 0) + round((time.monotonic() - begin) * 1000)
    return timings


@contextmanager
def adapters(module: AnsibleModule) -> Iterator[tuple[domain_xml.NodeConfig, Ceph, Hypervisor]]:
    """How this node is configured, and connections to its Ceph and its libvirt."""
    with ExitStack() as opened:
        try:
            node, ceph = opened.enter_context(storage(module))
            hypervisor = opened.enter_context(Hypervisor(module.params["libvirt_uri"]))
        except VirtfleetError as error:
            error.untouched = True
            raise
        yield node, ceph, hypervisor


@contextmanager
def storage(module: AnsibleModule) -> Iterator[tuple[domain_xml.NodeConfig, Ceph]]:
    """How this node is configured, and a connection to its pool."""
    node = read_node_config(module.params["node_config"])
    with pool_of(node) as ceph:
        yield node, ceph


def pool_of(node: domain_xml.NodeConfig) -> Ceph:
    """A connection to the pool of this node."""
    return Ceph(node.ceph_conf, node.ceph_client, node.ceph_pool)


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
            "mac": run.spec.nics[0].mac,
            "networks": [nic.as_dict() for nic in run.spec.nics],
        }
    return view


def _requested(params: dict[str, Any]) -> VmSpec | None:
    """The VM to build where it is missing, or None when only an existing one is to be acted on."""
    if params["image"] is None:
        return None
    spec = parse_request(
        {
            "name": params["name"],
            "project": params["project"],
            "ram": params["memory_mib"],
            "ram_max": params["memory_max_mib"],
            "cpu": params["vcpus"],
            "cpu_max": params["vcpus_max"],
            "disk": params["disk_gib"],
            "image": params["image"],
            "guest_user": params["guest_user"],
            "ssh_authorized_keys": params["ssh_authorized_keys"],
            "user_data": parse_user_data(params["user_data"]),
            "disks": params["disks"],
            "networks": params["networks"],
        }
    )
    source = Source(**params["source"]) if params["source"] else None
    return replace(spec, source=source, copied=params["copied"] or source is not None)
