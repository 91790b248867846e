#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_trash."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_trash
short_description: Remove the volumes of deleted VMs from the trash of Ceph RBD
version_added: 0.1.0
description:
  - Removes what the trash of the pool holds of our VMs, where its retention is over.
    Other images in the trash are left alone.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Says what it would remove, and does nothing.
  diff_mode:
    support: full
    description: The names in the trash before and after.
options:
  name:
    description: Only the volumes of VMs of this name.
    type: str
  expired_only:
    description: Leave those alone whose retention is not over. They can still be brought back by undelete_vm.yml.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Remove what nobody wanted back in time
  virtfleet.cloud.virt_rbd_trash:
"""

RETURN = r"""
volumes:
  description: What is in the trash of our VMs after the run, or would be in check mode, the last deleted first.
  returned: success
  type: list
  elements: dict
  sample:
    - name: test-1.root
      vm_id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
      deleted_at: "2026-11-24T02:51:03Z"
      expires_at: "2026-12-01T02:51:03Z"
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [purge test-1.root]
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_trash import run_trash_module

ARGUMENT_SPEC = {
    "name": {"type": "str"},
    "expired_only": {"type": "bool", "default": True},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_trash_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
