#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_image_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_image_info
short_description: Read the golden images of a pool, and what hangs on them
version_added: 0.1.0
description:
  - Reads Ceph only. Every volume that was cloned from an image, and what was cloned from those, is opened once.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.reads
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
options:
  name:
    description: Only the versions of this image.
    type: str
"""

EXAMPLES = r"""
- name: See what hangs on an image
  virtfleet.cloud.virt_rbd_image_info:
    name: debian-13
  register: lineage
"""

RETURN = r"""
images:
  description:
    - The images, the lowest version of each first. C(version) is null where there is none.
    - C(checksums) are those of the source. C(volumes) hang on the image; C(depth) is 1 for its clones.
  returned: success
  type: list
  elements: dict
  sample:
    - name: debian-13:2026-11-24
      image: debian-13
      version: "2026-11-24"
      size_gib: 2
      snapshot: golden
      created_at: "2026-11-24T08:02:11Z"
      checksums: {}
      volumes: [{volume: test-1.root, vm_id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, depth: 1, in_trash: false}]
trashed:
  description: The images in the trash, in the same form; volumes may still hang on them.
  returned: success
  type: list
  elements: dict
importing:
  description: Names of images that are being imported, or were when a run was cut off.
  returned: success
  type: list
  elements: str
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_CONFIG
from ..module_utils.run_image import run_image_info_module

ARGUMENT_SPEC = {
    "name": {"type": "str"},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_image_info_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
