#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_vm_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_vm_info
short_description: Read state and address of the VMs on a node
version_added: 0.1.0
description:
  - Asks libvirt on one node; the address comes from the DHCP lease, else from the guest agent.
  - Of domains that this collection did not make only the names are reported.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.node.libvirt
  - virtfleet.cloud.reads
requirements:
  - python3-libvirt of the distribution, on the node; with O(details) python3-rados and python3-rbd as well
options:
  names:
    description: Report these VMs only. One that is not on the node is left out.
    type: list
    elements: str
  console_lines:
    description: How many lines from the end of what each VM wrote to its serial console to report as C(console_log).
    type: int
    default: 0
  details:
    description: Report as C(details) of each VM what a registry that lost it can be rebuilt from. Reads Ceph as well.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Wait for the address of a VM
  virtfleet.cloud.virt_rbd_vm_info:
    names: [test-1]
  register: guest
  until: guest.vms[0].ip is not none
  retries: 60
  delay: 2
"""

RETURN = r"""
vms:
  description: The VMs, sorted by name. C(ip) is null until it is known.
  returned: success
  type: list
  elements: dict
  sample: [{name: test-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, state: running, ip: 192.168.122.122}]
foreign:
  description: The names of the domains that this collection did not make.
  returned: success
  type: list
  elements: str
capacity:
  description: What libvirt says the node has.
  returned: success
  type: dict
  sample: {vcpus: 16, memory_mib: 64221}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run_vm_info import run_vm_info_module

ARGUMENT_SPEC = {
    "names": {"type": "list", "elements": "str"},
    "console_lines": {"type": "int", "default": 0},
    "details": {"type": "bool", "default": False},
    **NODE_OPTIONS,
}


def main() -> None:
    """Entry point of the module."""
    run_vm_info_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
