#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_node; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_node
short_description: Register a node in the registry, or change what is known of it
version_added: 0.1.0
description:
  - Inserts the node, or brings what is given of it up to date. What is left out stays.
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
    description: Name of the node, as in the inventory.
    type: str
    required: true
  address:
    description: Its address. A new node needs it.
    type: str
  vcpus:
    description: Its CPUs. A new node needs it.
    type: int
  memory_mib:
    description: Its memory for VMs in MiB. A new node needs it.
    type: int
  cpu_overcommit:
    description: So many virtual CPUs are given out for each of its CPUs. A new node has 8.
    type: float
  memory_overcommit:
    description: So much memory is given out for each MiB that it has. A new node has 1.
    type: float
  state:
    description: VMs are put on it only while it is V(active), which a new one is. Those that are there go on.
    type: str
    choices: [active, cordoned, down]
  labels:
    description: All of its labels, by which VMs ask for it.
    type: dict
"""

EXAMPLES = r"""
- name: Register a node
  virtfleet.cloud.vm_registry_node:
    name: node-1
    address: 10.0.0.11
    vcpus: 16
    memory_mib: 65536

- name: Put no VMs on it for a while
  virtfleet.cloud.vm_registry_node:
    name: node-1
    state: cordoned
"""

RETURN = r"""
node:
  description: The node as it is now.
  returned: success
  type: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
