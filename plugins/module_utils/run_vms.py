# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_vms does: several VMs at a time over the same connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .ceph import Ceph
from .domain_xml import NodeConfig
from .errors import Invalid, VirtfleetError
from .hypervisor import Hypervisor
from .run import adapters, bring_about, fail
from .vm_options import REQUIRED_BY, VM_OPTIONS


def run_vms_module(module: AnsibleModule) -> None:
    """Bring every VM into the state asked for, and end the module. The failure of one does not touch the others."""
    params = module.params
    common = {"user_data": params["user_data"], "ssh_authorized_keys": params["ssh_authorized_keys"]}
    # It shows in each result how to reach the console.
    shown = {"libvirt_uri": params["libvirt_uri"]}
    try:
        wanted = [vm | shown for vm in _validated([common | vm for vm in params["vms"]])]
        with (
            adapters(module) as (node, ceph, hypervisor),
            ThreadPoolExecutor(params["parallel"]) as pool,
        ):
            results = list(pool.map(lambda vm: _one(vm, node, ceph, hypervisor, module.check_mode), wanted))
    except VirtfleetError as error:
        fail(module, error)
    diffs = [{"before_header": vm["name"], "after_header": vm["name"], **vm.pop("diff")} for vm in results]
    module.exit_json(changed=any(vm["changed"] for vm in results), results=results, diff=diffs)


def _validated(vms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The options of each VM with their defaults.

    Raises:
        Invalid: with what is wrong with any of them.
    """
    validator = ArgumentSpecValidator(VM_OPTIONS, required_by=REQUIRED_BY)
    checked = [validator.validate(vm) for vm in vms]
    problems = [
        f"{vm.get('name')}: {message}"
        for vm, result in zip(vms, checked, strict=True)
        for message in result.error_messages
    ]
    if problems:
        raise Invalid(problems)
    return [result.validated_parameters for result in checked]


def _one(vm: dict[str, Any], node: NodeConfig, ceph: Ceph, hypervisor: Hypervisor, check: bool) -> dict[str, Any]:
    try:
        return {"name": vm["name"], **bring_about(vm, node, ceph, hypervisor, check)}
    except VirtfleetError as error:
        nothing: dict[str, Any] = {"changed": False, "actions": [], "timings_ms": {}}
        return {"name": vm["name"], **nothing, "diff": {"before": {}, "after": {}}, "error": error.as_result()}
