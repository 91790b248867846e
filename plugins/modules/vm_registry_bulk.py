#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_bulk; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_bulk
short_description: Reserve and record many VMs in the registry
version_added: 0.1.0
description:
  - Does what M(virtfleet.cloud.vm_registry) does for one VM for many, in one transaction.
  - What is refused for one does not stop the others, and does not make the task fail. See RV(refused).
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  diff_mode:
    support: full
    description: Every VM before and after, by name; the same in check mode and in a run.
options:
  state:
    description: What to do.
    type: str
    choices: [claimed, recorded]
    required: true
  request:
    description:
      - What the user asked for, by the names that create_vms.yml takes.
      - C(vms) is a list of requests, each with the names that create_vm.yml takes, or C(count) and C(prefix) make them.
        The rest holds for every VM that does not say otherwise.
    type: dict
    default: {}
  lease_seconds:
    description: How long nobody else may change the VMs if we die.
    type: int
    default: 600
  claims:
    description: With O(state=recorded), what V(claimed) returned.
    type: list
    elements: dict
    default: []
  results:
    description: With O(state=recorded), what M(virtfleet.cloud.virt_rbd_vms) returned on all nodes.
    type: list
    elements: dict
    default: []
  node_errors:
    description: With O(state=recorded), the errors of nodes on which that module failed as a whole, by name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Reserve three VMs
  virtfleet.cloud.vm_registry_bulk:
    state: claimed
    request: {count: 3, prefix: web, ram: 2GiB}
  register: claims
"""

RETURN = r"""
claims:
  description: One result of M(virtfleet.cloud.vm_registry) for each VM that was not refused.
  returned: O(state=claimed)
  type: list
  elements: dict
refused:
  description: The error of each VM that was refused, by name.
  returned: O(state=claimed)
  type: dict
by_node:
  description: By node, the options of M(virtfleet.cloud.virt_rbd_vms) for what is to be made there.
  returned: O(state=claimed)
  type: dict
vms:
  description: The VMs as they are recorded.
  returned: O(state=recorded)
  type: list
  elements: dict
failed_vms:
  description: The error of each VM that failed, by name.
  returned: O(state=recorded)
  type: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
