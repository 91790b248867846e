#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_info; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_info
short_description: Read VMs from the registry
version_added: 0.1.0
description:
  - Lists VMs, or says which node one is on.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  name:
    description: Only this VM. It is an error if there is none.
    type: str
  project:
    description: Only VMs of this project.
    type: str
  node:
    description: Only VMs on this node.
    type: str
  state:
    description: Only VMs in this state.
    type: str
  image:
    description: Only VMs of this image, of all its versions or of the one that is named.
    type: str
  tag:
    description: Only VMs with this tag.
    type: str
  search:
    description: Only VMs with this in their names.
    type: str
  limit:
    description: So many at most; 0 is all.
    type: int
    default: 0
  after:
    description: Only VMs whose name comes after this one, which RV(next) of the page before is.
    type: str
  location:
    description: Return only the node of O(name), from Redis where it is there, else from PostgreSQL.
    type: bool
    default: false
  history:
    description: Return so many of the last events of O(name) instead, also of VMs of this name that are deleted.
    type: int
    default: 0
  summary:
    description: Return only how many VMs there are, by their states.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: List the VMs of a project
  virtfleet.cloud.vm_registry_info:
    project: default
  register: registry
"""

RETURN = r"""
vms:
  description: The VMs, sorted by name.
  returned: success, unless O(location), O(history) or O(summary) is given
  type: list
  elements: dict
next:
  description: The name to go on after, or null where there are no more.
  returned: success, unless O(location), O(history) or O(summary) is given
  type: str
events:
  description:
    - What happened, the last things first, each with C(id), C(at) (UTC), C(vm_id), C(actor), C(action) and C(detail).
    - The detail of a change of the VM has for each field what it was and what it became.
  returned: O(history) is more than 0
  type: list
  elements: dict
summary:
  description:
    - C(states) says how many VMs are in each state, C(half_made_seconds) for how long one at most is half-made without
      anybody working on it, 0 where there is none.
  returned: O(summary=true)
  type: dict
node:
  description: Name and address of the node.
  returned: O(location=true)
  type: dict
source:
  description: Who knew it, V(redis) or V(postgresql).
  returned: O(location=true)
  type: str
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
