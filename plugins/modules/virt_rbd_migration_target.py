#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_migration_target."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_migration_target
short_description: Say what decides whether a VM can move to this node
version_added: 0.1.0
description:
  - Runs on the node that a VM is to move to, before M(virtfleet.cloud.virt_rbd_migration) runs on its source.
  - Finds out whether libvirt answers, has the Ceph secret and no other domain of this name, whether the VM's volume can
    be read, which networks and bridges there are, and what the CPU can do.
  - Changes nothing.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.node.libvirt
requirements:
  - python3-rados, python3-rbd and python3-libvirt of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: It only looks.
  diff_mode:
    support: none
    description: It changes nothing.
options:
  name:
    description: Name of the VM.
    type: str
    required: true
  id:
    description: UUID of the VM.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Ask the target
  virtfleet.cloud.virt_rbd_migration_target:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
  delegate_to: node-2
  register: target
"""

RETURN = r"""
target_facts:
  description: What the source decides by.
  returned: success
  type: dict
  sample:
    domain: null
    interfaces: [[network, default]]
    cpu: <cpu>...</cpu>
    problems: []
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run_migration import run_migration_target_module

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    **NODE_OPTIONS,
}


def main() -> None:
    """Entry point of the module."""
    run_migration_target_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
