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
  - Writes a disk image into an RBD image, skipping what is zero, and pins it by a protected snapshot.
  - Raw images, also packed with gzip, bzip2, xz or Zstandard, pass from their file or URL into Ceph as a stream;
    memory is bounded and no file is written. Other formats (qcow2, vmdk, vhdx, vpc, vdi) are written by C(qemu-img);
    packed ones, and those from a URL, need room for the unpacked file in O(cache_dir) until then.
  - The image has its name only once it is complete. A run that fails leaves nothing;
    what a run that was killed left is removed by the next one.
  - An image that is there is left alone. A version (C(NAME:VERSION)) never changes, so another O(checksum) than that
    of its source is refused.
  - How far an import is can be seen in the journal of the node
    (C(journalctl -t ansible-virtfleet.cloud.virt_rbd_image)).
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
requirements:
  - python3-rados and python3-rbd of the distribution, on the node
  - qemu-img for other formats than raw, python3-zstandard for what is packed with Zstandard
attributes:
  check_mode:
    support: full
    description: Says whether it would import or remove, and does nothing.
  diff_mode:
    support: full
    description: Whether the image is there before and after.
options:
  name:
    description: Name of the image, C(NAME) or C(NAME:VERSION).
    type: str
    required: true
  src:
    description: Disk image on the node. One of O(src) and O(url) is needed where the image is not there yet.
    type: path
  url:
    description: URL (http, https or ftp) of a disk image, which the node fetches.
    type: str
  checksum:
    description: Checksum of the file at O(src) or O(url), like C(sha256:...). Content that differs is refused.
    type: str
  cache_dir:
    description: Directory of the node for files that have to be unpacked before they are imported.
    type: path
    default: /var/cache/virtfleet/images
  reuse:
    description: Import nothing where another version of this name was made of a source with the same O(checksum).
    type: bool
    default: false
  state:
    description: V(absent) removes an image that no volume hangs on.
    type: str
    choices: [present, absent]
    default: present
  trash:
    description: With O(state=absent), move the image to the RBD trash instead, where the volumes that hang on it go on.
    type: bool
    default: false
  retention_days:
    description: How long a trashed image stays in the trash at least.
    type: int
    default: 7
"""

EXAMPLES = r"""
- name: Import an image
  virtfleet.cloud.virt_rbd_image:
    name: debian-13
    src: /var/tmp/debian-13.raw

- name: Import a version of it from the network
  virtfleet.cloud.virt_rbd_image:
    name: debian-13:2026-11-24
    url: https://images.example.org/debian-13.qcow2
    checksum: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""

RETURN = r"""
image:
  description: The image, or another version with the same content; null where there is none.
  returned: success
  type: dict
  sample: {name: 'debian-13:2026-11-24', image: debian-13, version: '2026-11-24', size_gib: 2, snapshot: golden}
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
    "url": {"type": "str"},
    "checksum": {"type": "str"},
    "cache_dir": {"type": "path", "default": "/var/cache/virtfleet/images"},
    "reuse": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "trash": {"type": "bool", "default": False},
    "retention_days": {"type": "int", "default": 7},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def main() -> None:
    """Entry point of the module."""
    run_image_module(
        AnsibleModule(argument_spec=ARGUMENT_SPEC, mutually_exclusive=[("src", "url")], supports_check_mode=True)
    )


if __name__ == "__main__":
    main()
