#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_vms."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_vms
short_description: Bring many VMs of a node into a state in one remote execution
version_added: 0.1.0
description:
  - Does what M(virtfleet.cloud.virt_rbd_vm) does for each of several VMs, some of them at a time.
  - The failure of one does not stop or undo the others, and does not make the task fail. See RV(results).
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.node.libvirt
requirements:
  - python3-rados, python3-rbd, python3-libvirt and python3-pycdlib of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Decides and reports, and does nothing.
  diff_mode:
    support: full
    description: Every VM before and after; the same in check mode and in a run.
options:
  vms:
    description: The VMs, each a mapping of options of M(virtfleet.cloud.virt_rbd_vm), without C(user_data).
    type: list
    elements: dict
    required: true
  ssh_authorized_keys:
    description: OpenSSH public keys for those VMs that have none of their own.
    type: list
    elements: str
    default: []
  user_data:
    description: A cloud-config for all of them, as YAML or JSON text. Never shown.
    type: json
  parallel:
    description: How many VMs are worked on at a time.
    type: int
    default: 8
"""

EXAMPLES = r"""
- name: Stop two VMs
  virtfleet.cloud.virt_rbd_vms:
    vms:
      - {name: web-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, state: stopped}
      - {name: web-2, id: 1a0f4c0e-3e5a-4f51-8f0a-5d1f7c2b9d22, state: stopped}
"""

RETURN = r"""
results:
  description:
    - What became of each VM, in the order of O(vms). RV(results[].error) is there only where it failed.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The VM.
      type: str
    changed:
      description: Whether anything was done, or would be done in check mode.
      type: bool
    vm:
      description: The VM as it is after the run.
      type: dict
    actions:
      description: What was done, or would be done in check mode, in order.
      type: list
      elements: str
    timings_ms:
      description: Milliseconds that each action took, and the total.
      type: dict
    error:
      description: What went wrong, with C(code), C(message), C(hint) and C(problems).
      type: dict
error:
  description: What went wrong before any VM was touched.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run_vms import run_vms_module

ARGUMENT_SPEC = {
    "vms": {"type": "list", "elements": "dict", "required": True},
    "ssh_authorized_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "user_data": {"type": "json", "no_log": True},
    "parallel": {"type": "int", "default": 8},
    **NODE_OPTIONS,
}


def main() -> None:
    """Entry point of the module."""
    run_vms_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
