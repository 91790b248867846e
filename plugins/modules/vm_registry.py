#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry
short_description: Reserve, record and forget VMs in the registry
version_added: 0.1.0
description:
  - Each call is one transaction. V(claimed) reserves name, node, address and capacity before anything is touched.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  check_mode:
    support: full
    description: Does all of it in a transaction that is rolled back.
  diff_mode:
    support: full
    description: The VM before and after, without what is drawn by lot (id, MAC); the same in check mode and in a run.
options:
  state:
    description: What to do. V(refreshed) writes observed states and addresses where they differ.
    type: str
    choices: [claimed, recorded, forgotten, refreshed]
    required: true
  name:
    description: Name of the VM. Needed unless O(state=refreshed).
    type: str
  project:
    description: Project of a new VM.
    type: str
  intent:
    description: What the claim is for. Only V(create) makes a VM.
    type: str
    choices: [create, start, stop, suspend, resume, flatten, delete]
    default: create
  request:
    description: What the user asked for, by the names that create_vm.yml takes. Values that are null are defaults.
    type: dict
    default: {}
  lease:
    description: The lease that the claim returned. Needed for V(recorded) and V(forgotten).
    type: str
  lease_seconds:
    description: How long nobody else may change the VM if we die.
    type: int
    default: 180
  vm_state:
    description: With O(state=recorded), the state that the VM is in now.
    type: str
  step:
    description: With O(state=recorded), what failed.
    type: str
  error:
    description: With O(state=recorded), the error.
    type: dict
  done:
    description: With O(state=recorded), what was done, for the history of the VM where its row does not show it.
    type: str
  observed:
    description: With O(state=refreshed), what M(virtfleet.cloud.virt_rbd_vm_info) returned as C(vms).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Reserve name, node, address and capacity
  virtfleet.cloud.vm_registry:
    state: claimed
    name: test-1
    request: {ram: 2GiB, cpu: 2}
  register: claim
"""

RETURN = r"""
vm:
  description: The VM.
  returned: success, unless O(state=refreshed)
  type: dict
node:
  description: Name and address of its node.
  returned: O(state=claimed)
  type: dict
needed:
  description: Whether anything has to be done. If not, there is no lease.
  returned: O(state=claimed)
  type: bool
resume:
  description: Whether a create that was cut off is continued.
  returned: O(state=claimed)
  type: bool
lease:
  description: To be given to V(recorded) or V(forgotten).
  returned: O(state=claimed)
  type: str
names:
  description: The VMs that changed.
  returned: O(state=refreshed)
  type: list
  elements: str
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
