#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_node_info; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_node_info
short_description: Read the nodes from the registry
version_added: 0.1.0
description:
  - Lists the nodes with their capacity and what the VMs use of it.
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
options: {}
"""

EXAMPLES = r"""
- name: List the nodes
  virtfleet.cloud.vm_registry_node_info:
  register: registry
"""

RETURN = r"""
nodes:
  description:
    - The nodes by name, with C(name), C(address), C(state), C(labels), C(vcpus), C(memory_mib), C(cpu_overcommit),
      C(memory_overcommit), C(vms), C(used_vcpus), C(used_memory_mib) and C(seen_at) (UTC).
  returned: success
  type: list
  elements: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
