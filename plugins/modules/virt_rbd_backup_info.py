#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_backup_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_backup_info
short_description: List and verify backups of VMs
version_added: 0.1.0
description:
  - Reads what M(virtfleet.cloud.virt_rbd_backup) wrote to a place, also what was cut off.
  - With O(verify) every stream is read to its end and compared with its manifest. Nothing is written anywhere.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.reads
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
options:
  to:
    description: Where backups are, an absolute path of a directory on the node, or C(pool:NAME).
    type: str
    required: true
  name:
    description: Name of the VM. Default is all that there are backups of.
    type: str
  backup:
    description: Only this backup, with all that it builds on.
    type: str
  newest:
    description: Only the newest backup, with all that it builds on.
    type: bool
    default: false
  verify:
    description: Read the streams, and fail with everything that is wrong with them.
    type: bool
    default: false
  rate:
    description: MiB per second that are read at most. Default is as fast as it goes.
    type: float
  timeout:
    description: Seconds that it may take for each VM.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: List the backups of a VM
  virtfleet.cloud.virt_rbd_backup_info:
    to: /srv/backup
    name: test-1
  register: listing

- name: Verify everything, in the background of other work
  virtfleet.cloud.virt_rbd_backup_info:
    to: pool:backup
    verify: true
    rate: 20
"""

RETURN = r"""
backups:
  description: The backups as M(virtfleet.cloud.virt_rbd_backup) returns them.
  returned: always
  type: list
  elements: dict
chosen:
  description: With O(backup) or O(newest), the name of that backup, the node that made it, and its VM.
  returned: success
  type: dict
  contains:
    backup:
      description: Its name.
      type: str
    node:
      description: The node that made it.
      type: str
    vm:
      description: C(name), C(id) and C(mac) of the VM, and as C(request) what would make it.
      type: dict
  sample:
    backup: 20261124-081500z
    node: node-1
    vm: {name: test-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, mac: '52:54:00:12:34:56', request: {ram: 1024}}
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_backup import run_backup_info_module

ARGUMENT_SPEC = {
    "to": {"type": "str", "required": True},
    "name": {"type": "str"},
    "backup": {"type": "str"},
    "newest": {"type": "bool", "default": False},
    "verify": {"type": "bool", "default": False},
    "rate": {"type": "float"},
    "timeout": {"type": "int", "default": 3600},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_backup_info_module(
        AnsibleModule(argument_spec=ARGUMENT_SPEC, required_by={"backup": ("name",)}, supports_check_mode=True)
    )


if __name__ == "__main__":
    main()
