# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_vm_info does."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .console_log import console_tail
from .errors import VirtfleetError
from .hypervisor import Hypervisor
from .node_config import read_node_config
from .run import fail, pool_of
from .vm_details import details


def run_vm_info_module(module: AnsibleModule) -> None:
    """Report the VMs of this node and its capacity, and end the module."""
    names = module.params["names"]
    try:
        with Hypervisor(module.params["libvirt_uri"]) as hypervisor:
            domains = hypervisor.domains()
            ours = {name: facts for name, facts in domains.items() if facts.owned_id}
            wanted = ours if names is None else {name: ours[name] for name in names if name in ours}
            vms: list[dict[str, Any]] = [
                {"name": name, "id": facts.owned_id, "state": facts.state, "ip": hypervisor.address(name)}
                for name, facts in sorted(wanted.items())
            ]
            if module.params["details"]:
                node = read_node_config(module.params["node_config"])
                with pool_of(node) as ceph:
                    known = details([vm["name"] for vm in vms], node, ceph, hypervisor)
                vms = [vm | {"details": known[vm["name"]]} for vm in vms]
            if module.params["console_lines"]:
                directory = read_node_config(module.params["node_config"]).console_log_dir
                for vm in vms:
                    vm["console_log"] = console_tail(directory, vm["name"], module.params["console_lines"])
            foreign = sorted(domains.keys() - ours.keys())
            module.exit_json(changed=False, vms=vms, foreign=foreign, capacity=hypervisor.capacity())
    except VirtfleetError as error:
        fail(module, error)
