#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_snapshot_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_snapshot_info
short_description: List the snapshots of a VM
version_added: 0.1.0
description:
  - Reads the snapshots of the VM's volumes, also those that M(virtfleet.cloud.virt_rbd_snapshot) did not make.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.reads
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
options:
  name:
    description: Name of the VM.
    type: str
    required: true
  id:
    description: UUID of the VM, as the registry gave it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: List the snapshots of a VM
  virtfleet.cloud.virt_rbd_snapshot_info:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
  register: listing
"""

RETURN = r"""
snapshots:
  description: The snapshots as M(virtfleet.cloud.virt_rbd_snapshot) returns them, with what was cloned from them.
  returned: success
  type: list
  elements: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_snapshot import run_snapshot_info_module

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_snapshot_info_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
