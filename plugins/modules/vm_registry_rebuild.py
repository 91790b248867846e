#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_rebuild; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_rebuild
short_description: Insert into the registry what is there and what it does not have
version_added: 0.1.0
description:
  - For a registry that was lost, or that is older than what it is of. Rows that are there are never touched.
  - What a VM is comes from its domain, its volumes, and the record that is kept with its root volume. One that is on
    several nodes, was deleted, or whose name or MAC another one has is left to a person.
  - Quotas and subnets, deleted VMs and the history of all are nowhere but in a backup of the registry.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  diff_mode:
    support: none
    description: RV(findings) says what is inserted.
options:
  nodes:
    description: What M(virtfleet.cloud.virt_rbd_vm_info) with C(details) returned on each node, by its name.
    type: dict
    required: true
  silent:
    description: The nodes that did not answer. VMs are left out then that may be on them too.
    type: list
    elements: str
    default: []
  capacities:
    description: C(address), C(vcpus) and C(memory_mib) of each node, for those that are not registered.
    type: dict
    default: {}
  images:
    description: What M(virtfleet.cloud.virt_rbd_image_info) returned as C(images).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Rebuild the registry
  virtfleet.cloud.vm_registry_rebuild:
    nodes:
      node-1: "{{ hostvars['node-1'].told }}"
    capacities:
      node-1: {address: 192.0.2.11, vcpus: 32, memory_mib: 115200}
    images: "{{ pool.images }}"
"""

RETURN = r"""
findings:
  description:
    - What was missing, each with C(kind), C(name), C(detail) and C(action), which is empty where a person has to look.
  returned: success
  type: list
  elements: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
