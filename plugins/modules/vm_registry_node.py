#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_node; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_node
short_description: Register a node in the registry
version_added: 0.1.0
description:
  - Inserts the node, or brings its address and capacity up to date.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  check_mode:
    support: full
    description: Does it in a transaction that is rolled back.
  diff_mode:
    support: full
    description: The row before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the node, as in the inventory.
    type: str
    required: true
  address:
    description: Its address.
    type: str
    required: true
  vcpus:
    description: Its CPUs.
    type: int
    required: true
  memory_mib:
    description: Its memory for VMs in MiB.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Register a node
  virtfleet.cloud.vm_registry_node:
    name: node-1
    address: 10.0.0.11
    vcpus: 16
    memory_mib: 65536
"""

RETURN = r"""

error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
