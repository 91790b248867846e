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
  diff_mode:
    support: full
    description: The VM before and after, without what is drawn by lot (id, MAC); the same in check mode and in a run.
options:
  state:
    description: What to do. V(refreshed) writes states and addresses that differ on the nodes.
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
    description:
      - What the claim is for. Only V(create) and V(clone) make a VM.
      - V(clone) makes it from a C(snapshot) of another VM, the C(source) of O(request), whose sizes and data disks it
        has where they are not given.
      - V(migrate) reserves room on C(node) of O(request) too, or on the node with the most room.
      - V(undelete) takes the one of this name that was deleted last back.
      - V(change) gives it other sizes, data disks or protection, by O(request).
      - V(reseed) gives it another seed, by C(ssh_authorized_keys), C(guest_user), C(user_data) and what goes into that
        of O(request).
      - V(restore) makes it of what O(request) says of a backup (C(backup), C(vm), and C(node) where that matters).
      - V(redefine) gives it a domain again, on the node that it is recorded on.
      - V(delete) and V(rollback) are refused for one that is protected.
    type: str
    choices:
      - create
      - clone
      - start
      - stop
      - suspend
      - resume
      - migrate
      - flatten
      - delete
      - undelete
      - change
      - reseed
      - seal
      - snapshot
      - rollback
      - remove_snapshot
      - backup
      - remove_backup
      - restore
      - redefine
    default: create
  request:
    description:
      - What the user asked for, by the names that create_vm.yml takes. Values that are null are defaults.
      - A C(flavor) in it is looked up in the variable C(vm_flavors).
      - With O(intent=change) only what is to be different.
        C(attach) is a data disk to add or grow, C(detach) the name of one to take away.
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
  vm_node:
    description: With O(state=recorded), the node that the VM has moved to.
    type: str
  address_kept:
    description: With O(vm_node), whether the VM's address is still the one that is recorded.
    type: bool
    default: true
  snapshot:
    description: With O(state=recorded), the snapshot that the VM was cloned from, to be kept where it was left open.
    type: str
  undo:
    description: With O(error), the VM as C(diff.before) of the claim of a change showed it, to be so again.
    type: dict
  step:
    description: With O(state=recorded), what failed.
    type: str
  error:
    description: With O(state=recorded), the error.
    type: dict
  event:
    description: With O(state=recorded), what was done to the VM that its row does not show, for its history.
    type: str
  detail:
    description: With O(event), what else is to be known of it.
    type: dict
  nodes:
    description: With O(state=refreshed), what M(virtfleet.cloud.virt_rbd_vm_info) returned, by the node that it ran on.
    type: dict
    default: {}
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
target:
  description: Name and address of the node that it moves to.
  returned: O(state=claimed) and O(intent=migrate)
  type: dict
record:
  description: What is to be kept with the volume of the VM, to rebuild the registry by when it is lost.
  returned: O(state=claimed)
  type: dict
needed:
  description: Whether anything has to be done. If not, there is no lease.
  returned: O(state=claimed)
  type: bool
request:
  description: What create_vm.yml would have to be given to make this VM, without user-data.
  returned: O(state=claimed) and O(intent=backup)
  type: dict
resume:
  description: Whether a create or restore that was cut off is continued.
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
