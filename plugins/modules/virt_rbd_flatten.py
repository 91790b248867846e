#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_flatten."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_flatten
short_description: Make a VM independent of its image, or of the VM that it was cloned from
version_added: 0.1.0
description:
  - Copies into each volume what it shares with the image or the volume that it was cloned from, by librbd, object by
    object.
  - The VM may be running. The copy then needs room in the pool, and the image can go when nothing else hangs on it.
  - A volume that hangs on nothing is left alone. One that has snapshots hangs on its image until they are gone.
  - How far it is can be seen in the journal of the node (C(journalctl -t ansible-virtfleet.cloud.virt_rbd_flatten)).
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Says whether it would flatten, and does nothing.
  diff_mode:
    support: full
    description: What each volume hangs on, before and after.
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
    description: Name of this node in the registry. Default is the host name.
    type: str
  timeout:
    description: Seconds to wait for it. What was copied until then stays copied.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Let a VM stand by itself
  virtfleet.cloud.virt_rbd_flatten:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [flatten test-1.root]
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_flatten import run_flatten_module

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "node": {"type": "str"},
    "timeout": {"type": "int", "default": 3600},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_flatten_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
