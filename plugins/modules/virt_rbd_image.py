#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_image
short_description: Bring a golden image into Ceph RBD as a pinned snapshot
version_added: 0.1.0
description:
  - Writes a raw disk image into an RBD image, skipping what is zero, and pins it by a protected snapshot.
  - An image that is there is left alone.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Says whether it would import or remove, and does nothing.
  diff_mode:
    support: full
    description: Whether the image is there before and after.
options:
  name:
    description: Name of the image.
    type: str
    required: true
  src:
    description: Raw disk image on the node. Needed where the image is not there yet, but not in check mode.
    type: path
  state:
    description: V(absent) removes an image that nothing was cloned from.
    type: str
    choices: [present, absent]
    default: present
  node_config:
    description: File on the node that names cluster, client and pool; role libvirt writes it.
    type: path
    default: /etc/virtfleet/node.json
"""

EXAMPLES = r"""
- name: Import an image
  virtfleet.cloud.virt_rbd_image:
    name: debian-13
    src: /var/tmp/debian-13.raw
"""

RETURN = r"""
image:
  description: The image; null where there is none.
  returned: success
  type: dict
  sample: {name: debian-13, size_gib: 2, snapshot: golden}
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [import debian-13]
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_image import run_image_module

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "src": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_image_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
