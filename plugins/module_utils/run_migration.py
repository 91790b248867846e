# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules virt_rbd_migration and virt_rbd_migration_target do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .ceph_ownership import OwnerStore
from .domain_xml import NodeConfig
from .errors import Unreachable, VirtfleetError
from .hypervisor_migration import MigrationHost
from .migration_plan import (
    Limits,
    Move,
    ObservedMove,
    TargetFacts,
    check_limits,
    decide_move,
    target_uri,
)
from .node_config import read_node_config
from .ownership import Ownership
from .plan_types import DomainFacts, Plan, Step
from .run import carry_out, fail, pool_of, storage


class MoveRun:
    """One move, on its source: everything that the steps of a plan need."""

    def __init__(self, params: dict[str, Any], node: NodeConfig, owners: OwnerStore, host: MigrationHost) -> None:
        self.params = params
        self.node = node
        self.owners = owners
        self.host = host
        self.move = Move(params["name"], params["id"], params["node"], params["target"])
        self.limits = Limits(
            seconds=params["timeout"],
            bandwidth_mib=params["bandwidth"],
            downtime_ms=params["downtime"],
            auto_converge=params["auto_converge"],
            encrypted=params["encrypted"],
            post_copy=params["post_copy"],
        )
        self.owner: Ownership | None = None
        self.progress: dict[str, Any] = {}
        self.link_kind = self.node.network_type

    def observe(self) -> ObservedMove:
        """Read everything that the plan is decided by; the target's part came as an argument."""
        move, target = self.move, self.params["target_facts"]
        self.owner = self.owners.read(move.id)
        domain = self.host.domain(move.name)
        interfaces = self.host.interfaces(move.name) if domain else ()
        if interfaces:
            self.link_kind = interfaces[0][0]
        return ObservedMove(
            domain=domain,
            interfaces=interfaces,
            owner=self.owner,
            target=_target_facts(target) if target else None,
            # Emulated CPUs are the same everywhere.
            cpu_fits=not target or self.node.accelerator != "kvm" or self.host.cpu_is_within(target["cpu"]),
        )

    def own(self, after: Ownership) -> None:
        """Change the owner from what was read or written last."""
        if self.owner is not None and self.owner != after:
            self.owners.change(self.move.id, self.owner, after)
            self.owner = after

    def migrate(self, step: Step) -> None:
        address, name = self.params["target_address"], self.move.name
        if step.detail["state"] == "stopped":
            self.host.migrate_definition(name, target_uri(address))
        else:
            memory_address = self.params["memory_address"] or address
            self.progress = self.host.migrate(name, target_uri(address), memory_address, self.limits)

    def not_begun(self, observed: ObservedMove) -> dict[str, Any]:
        """The VM, if no move of it was begun: it is here, and belongs to this node alone."""
        if observed.domain is None or self.owner != Ownership(self.move.source):
            return {}
        return {"vm": self.view(self.move.source, observed.domain.state)}

    def take_back(self, plan: Plan) -> dict[str, Any]:
        """The VM, if a move that failed has left it here as it was; then this node is its only owner again."""
        try:
            domain = self.host.domain(self.move.name)
            if domain is None or domain.state != plan.before["state"]:
                return {}
            self.own(Ownership(self.move.source))
        except VirtfleetError:
            return {}
        return {"vm": self.view(self.move.source, domain.state)}

    def view(self, node: str, state: str) -> dict[str, Any]:
        """The `vm` of the result."""
        return {
            "name": self.move.name,
            "id": self.move.id,
            "node": node,
            "state": state,
            # A NAT network is the node's own; a bridge is where the target is too.
            "address_kept": node == self.move.source or self.link_kind == "bridge",
            "console": f"virsh -c {self.params['libvirt_uri']} console {self.move.name}",
        }


EXECUTORS: dict[str, Callable[[MoveRun, Step], None]] = {
    "share_ownership": lambda run, step: run.own(Ownership(run.move.source, run.move.target)),
    "hand_over_ownership": lambda run, step: run.own(Ownership(run.move.target)),
    "keep_ownership": lambda run, step: run.own(Ownership(run.move.source)),
    "migrate": lambda run, step: run.migrate(step),
    "undefine": lambda run, step: run.host.undefine(step.target),
}


def run_migration_module(module: AnsibleModule) -> None:
    """Move one VM from this node to another, and end the module."""
    begin = time.monotonic()
    params = module.params
    # What is said with a failure, where the VM certainly is on its source as it was.
    here: dict[str, Any] = {}
    try:
        with storage(module) as (node, ceph), MigrationHost(params["libvirt_uri"]) as host:
            run = MoveRun(params, node, OwnerStore(ceph), host)
            observed = run.observe()
            here = run.not_begun(observed)
            check_limits(run.limits)
            plan = decide_move(run.move, observed)
            timings = {"observe": round((time.monotonic() - begin) * 1000)}
            if not module.check_mode:
                try:
                    timings |= carry_out(plan, lambda step: EXECUTORS[step.action](run, step))
                except VirtfleetError:
                    here = run.take_back(plan)
                    raise
    except VirtfleetError as error:
        fail(module, error, **here)
    timings["total"] = round((time.monotonic() - begin) * 1000)
    module.exit_json(
        changed=plan.changed,
        vm=run.view(plan.after["node"], plan.after["state"]),
        actions=plan.actions,
        migration=run.progress,
        diff={"before": plan.before, "after": plan.after},
        timings_ms=timings,
    )


def run_migration_target_module(module: AnsibleModule) -> None:
    """Say what decides whether a VM can come to this node, and end the module."""
    params = module.params
    try:
        node = read_node_config(params["node_config"])
        with MigrationHost(params["libvirt_uri"]) as host:
            domain = host.domain(params["name"])
            facts = {
                "domain": _domain_view(domain),
                "interfaces": [list(link) for link in sorted(host.links())],
                "cpu": host.cpu(),
                "problems": _problems(params, node, host),
            }
    except VirtfleetError as error:
        fail(module, error)
    module.exit_json(changed=False, target_facts=facts)


def _problems(params: Mapping[str, Any], node: NodeConfig, host: MigrationHost) -> list[str]:
    where = os.uname().nodename
    problems = []
    if not host.has_secret(node.ceph_secret_uuid):
        problems.append(f"libvirt on {where} has no Ceph secret {node.ceph_secret_uuid} (role libvirt gives it)")
    if not os.path.isdir(node.console_log_dir):
        problems.append(f"{where} has no directory {node.console_log_dir} for the console's log")
    return problems + _unreadable(params, node, where)


def _unreadable(params: Mapping[str, Any], node: NodeConfig, where: str) -> list[str]:
    volume = f"{params['name']}.root"
    try:
        with pool_of(node) as ceph:
            facts = ceph.volume(volume)
    except Unreachable as error:
        return [f"{where} does not reach Ceph: {error.message}"]
    if facts is None or facts.vm_id != params["id"]:
        return [f"{where} sees no volume {volume} of this VM in pool {node.ceph_pool}"]
    return []


def _domain_view(domain: DomainFacts | None) -> dict[str, Any] | None:
    return {"uuid": domain.uuid, "state": domain.state, "owned_id": domain.owned_id} if domain else None


def _target_facts(said: Mapping[str, Any]) -> TargetFacts:
    domain = said["domain"]
    return TargetFacts(
        domain=DomainFacts(**domain) if domain else None,
        interfaces=tuple((kind, source) for kind, source in said["interfaces"]),
        problems=tuple(said["problems"]),
    )
