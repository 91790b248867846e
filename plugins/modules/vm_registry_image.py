#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_image; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_image
short_description: Register an image in the registry, or take it out
version_added: 0.1.0
description:
  - Inserts the image, or brings its size up to date, so that a request can be checked before anything is touched.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  diff_mode:
    support: full
    description: The row before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the image, C(NAME) or C(NAME:VERSION).
    type: str
    required: true
  size_gib:
    description: Its size in GiB, rounded up. Needed unless O(state=absent).
    type: int
  state:
    description: V(absent) takes it out, so that no new VM is made from it; refused while one is being made.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Register an image
  virtfleet.cloud.vm_registry_image:
    name: debian-13
    size_gib: 2
"""

RETURN = r"""

error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
