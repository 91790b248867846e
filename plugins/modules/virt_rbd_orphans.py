#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_orphans."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_orphans
short_description: Move the volumes of VMs that are nowhere any more to the trash
version_added: 0.1.0
description:
  - Looks at every RBD image of the pool that has the mark of a VM, and moves those to the trash whose VM is not known.
  - One that a client has open, or that is younger than the grace time, stays and is reported.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Says what it would move, and does nothing.
  diff_mode:
    support: full
    description: The names of the orphans before and after.
options:
  known_ids:
    description:
      - UUIDs of all VMs that are in the registry or have a domain on a node. Every node has to be asked for these.
    type: list
    elements: str
    required: true
  grace_hours:
    description: Volumes younger than this stay.
    type: float
    default: 24
  retention_days:
    description: How long they stay in the trash.
    type: int
    default: 7
"""

EXAMPLES = r"""
- name: See what would go
  virtfleet.cloud.virt_rbd_orphans:
    known_ids: "{{ registry.known_ids }}"
  check_mode: true
"""

RETURN = r"""
findings:
  description: The orphans, each with C(kind), C(name), C(detail) and C(action), which is empty where it stays.
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [trash old-1.root]
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_orphans import run_orphans_module

ARGUMENT_SPEC = {
    "known_ids": {"type": "list", "elements": "str", "required": True},
    "grace_hours": {"type": "float", "default": 24},
    "retention_days": {"type": "int", "default": 7},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_orphans_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
