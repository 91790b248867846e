#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_restore
short_description: Make the volumes of a VM from a backup
version_added: 0.1.0
description:
  - Reads a backup that M(virtfleet.cloud.virt_rbd_backup) made, with all that it builds on, and compares it with its
    manifests. Only then are volumes made. They share nothing with an image.
  - With the id that the VM had all its volumes come back, with the seed. With another one it becomes a new VM, whose
    seed M(virtfleet.cloud.virt_rbd_vm) writes.
  - A volume has its name only once it is whole. A run that was cut off is continued by the next one, with the volumes
    that are missing; what fails before the first is whole leaves nothing.
  - Nothing is overwritten. Where a volume is there that was not made from this backup, it refuses.
  - How far it is can be seen in the journal of the node (C(journalctl -t ansible-virtfleet.cloud.virt_rbd_restore)).
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Decides and reports, and does nothing; streams are not read.
  diff_mode:
    support: full
    description: Owner and volumes of the VM before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the VM that is to be.
    type: str
    required: true
  id:
    description: UUID of the VM that is to be, as the registry gave it.
    type: str
    required: true
  node:
    description: Name of this node in the registry, which becomes the owner of the VM. Default is the host name.
    type: str
  to:
    description: Where backups are, an absolute path of a directory on the node, or C(pool:NAME).
    type: str
    required: true
  source:
    description: Name that the VM had when it was backed up. Default is O(name).
    type: str
  backup:
    description: Name of the backup. Default is the newest.
    type: str
  rate:
    description: MiB per second that are read, and then written, at most. Default is as fast as it goes.
    type: float
  timeout:
    description: Seconds that it may take.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Bring the volumes of a VM back
  virtfleet.cloud.virt_rbd_restore:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    to: /srv/backup
    backup: 20261124-081500z
"""

RETURN = r"""
backup:
  description: The backup as M(virtfleet.cloud.virt_rbd_backup) returns it.
  returned: success
  type: dict
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [take_ownership test-1, restore_volume test-1.root, restore_volume test-1.seed]
untouched:
  description: Whether there is nothing of this VM in the pool, so that its claim can be given up.
  returned: failure
  type: bool
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_restore import run_restore_module

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "node": {"type": "str"},
    "to": {"type": "str", "required": True},
    "source": {"type": "str"},
    "backup": {"type": "str"},
    "rate": {"type": "float"},
    "timeout": {"type": "int", "default": 3600},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_restore_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
