#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_migration
short_description: Move a VM whose disks are on Ceph RBD from this node to another
version_added: 0.1.0
description:
  - Runs on the node that the VM is on. A VM that runs goes on running, one that is suspended stays suspended, and of
    one that is stopped only the definition moves.
  - The libvirt of this node talks to that of the target by TLS, and the memory goes the same way.
  - While the VM moves both nodes are its owners, so that neither starts it. A run that was cut off is continued by the
    next run, which finds out where the VM is.
  - A move that fails or takes too long leaves the VM on this node as it was.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.node.libvirt
requirements:
  - python3-rados, python3-rbd and python3-libvirt of the distribution, on the node
seealso:
  - module: virtfleet.cloud.virt_rbd_migration_target
attributes:
  check_mode:
    support: full
    description: Decides and reports, and does nothing.
  diff_mode:
    support: full
    description: Node, state and owner of the VM before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the VM.
    type: str
    required: true
  id:
    description: UUID of the VM, as the registry gave it.
    type: str
    required: true
  node:
    description: Name of this node in the registry.
    type: str
    required: true
  target:
    description:
      - Name of the node that it moves to. If it is O(node), a move that was cut off is given up, provided that the VM
        is still here.
    type: str
    required: true
  target_address:
    description: Address of the target that its libvirt listens on for TLS, and that its certificate names.
    type: str
  memory_address:
    description: Address of the target that the memory goes to if O(encrypted=false). Default is O(target_address).
    type: str
  target_facts:
    description: What M(virtfleet.cloud.virt_rbd_migration_target) returned as C(target_facts) on the target.
    type: dict
  timeout:
    description: Seconds after which the move of a running VM is broken off.
    type: int
    default: 300
  bandwidth:
    description: MiB per second that the move may take; V(0) is as much as there is.
    type: int
    default: 0
  downtime:
    description: Milliseconds that the guest may stand still at the end. Default is QEMU's, which is 300.
    type: int
  auto_converge:
    description: Slow the guest down if it writes faster than its memory can be sent.
    type: bool
    default: false
  encrypted:
    description:
      - Send the memory of the guest by TLS. If V(false), it goes beside it from QEMU to QEMU in the clear, to a
        port from 49152 to 49215 of the target. That is faster, and anybody on that network can read and change it.
    type: bool
    default: true
  post_copy:
    description:
      - Run the guest on the target after the first pass over its memory, and fetch the rest when it is needed. The move
        then ends for certain; but a network that fails during it takes the guest down. Needs O(encrypted=false).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask the target
  virtfleet.cloud.virt_rbd_migration_target:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
  delegate_to: node-2
  register: target

- name: Move it
  virtfleet.cloud.virt_rbd_migration:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    node: node-1
    target: node-2
    target_address: 10.0.0.12
    target_facts: "{{ target.target_facts }}"
  delegate_to: node-1
"""

RETURN = r"""
vm:
  description:
    - Name, id, node and state of the VM after the run, and whether its address still holds (C(address_kept)).
    - On failure only where the VM is on this node as it was.
  returned: success, and failure where the VM stayed as it was
  type: dict
  sample: {name: test-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, node: node-2, state: running, address_kept: true}
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [share_ownership test-1, migrate test-1, hand_over_ownership test-1]
migration:
  description: How the move of a running VM went, as last seen; the sum is that of all passes over its memory.
  returned: success
  type: dict
  sample: {total_mib: 1032, sent_mib: 353, remaining_mib: 0, passes: 3, seconds: 4.8, post_copy: false}
timings_ms:
  description: Milliseconds that each action took, and the total.
  returned: success
  type: dict
  sample: {observe: 40, share_ownership: 5, migrate: 4810, hand_over_ownership: 6, total: 4870}
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run_migration import run_migration_module

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "node": {"type": "str", "required": True},
    "target": {"type": "str", "required": True},
    "target_address": {"type": "str"},
    "memory_address": {"type": "str"},
    "target_facts": {"type": "dict"},
    "timeout": {"type": "int", "default": 300},
    "bandwidth": {"type": "int", "default": 0},
    "downtime": {"type": "int"},
    "auto_converge": {"type": "bool", "default": False},
    "encrypted": {"type": "bool", "default": True},
    "post_copy": {"type": "bool", "default": False},
    **NODE_OPTIONS,
}


def main() -> None:
    """Entry point of the module."""
    run_migration_module(
        AnsibleModule(
            argument_spec=ARGUMENT_SPEC,
            required_together=[("target_facts", "target_address")],
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
