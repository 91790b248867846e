#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_backup
short_description: Back up a VM whose disks are on Ceph RBD, and remove backups
version_added: 0.1.0
description:
  - A backup is of all volumes of a VM at one moment. They are read from a snapshot that is made as
    M(virtfleet.cloud.virt_rbd_snapshot) makes it, with the guest frozen through its agent where that answers.
    The seed, which no snapshot holds, is read as it is.
  - Each volume is a stream in the format of C(rbd export-diff), so that C(rbd import-diff) takes it too. A full backup
    holds all of it, an incremental one what changed since the one before.
  - A manifest, written last, says what the VM is, which backup this one builds on, and the size and SHA-256 of each
    stream. What has none was cut off; the next backup of the VM removes it.
  - The snapshot stays until the next backup to the same place is whole, since that one builds on it.
  - Streams hold everything that is on the disks, and the seed with its user-data. Guard them accordingly.
  - How far it is can be seen in the journal of the node (C(journalctl -t ansible-virtfleet.cloud.virt_rbd_backup)).
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.node.libvirt
requirements:
  - python3-rados, python3-rbd and python3-libvirt of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Decides and reports, and does nothing.
  diff_mode:
    support: full
    description: The backups and the snapshots that they need, before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the VM.
    type: str
    required: true
  id:
    description: UUID of the VM, as the registry gave it. Needed with O(state=present).
    type: str
  node:
    description: Name of this node in the registry. Default is the host name.
    type: str
  mac:
    description: MAC address of the VM, to be kept in the backup.
    type: str
  request:
    description: What C(create_vm.yml) would have to be given to make this VM, to be kept in the backup. No secrets.
    type: dict
    default: {}
  to:
    description:
      - Where backups are, an absolute path of a directory that is there on the node, or C(pool:NAME).
      - The client of the node has to be allowed to use the pool, see C(ceph_backup_pool) of role ceph.
    type: str
    required: true
  backup:
    description:
      - Name of the backup; an RFC 1123 label in lower case, of at most 46 characters.
      - With O(state=present) the default is the time in UTC, such as V(20261124-081500z).
    type: str
  state:
    description: V(absent) removes a backup that no other builds on.
    type: str
    choices: [present, absent]
    default: present
  kind:
    description:
      - V(auto) makes an incremental backup where that can be, and says why where it cannot.
      - V(incremental) fails there. V(full) begins anew.
    type: str
    choices: [auto, full, incremental]
    default: auto
  full_every:
    description: With O(kind=auto), one in so many backups is a full one.
    type: int
    default: 7
  keep:
    description: Remove the backups of this VM beyond the newest so many, and beyond what these build on.
    type: int
  freeze:
    description: Whether the guest's file systems are frozen, see M(virtfleet.cloud.virt_rbd_snapshot).
    type: str
    choices: [auto, never, required]
    default: auto
  rate:
    description: MiB per second that are read and written at most. Default is as fast as it goes.
    type: float
  timeout:
    description: Seconds that it may take.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Back up a VM, and keep the newest seven
  virtfleet.cloud.virt_rbd_backup:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    to: /srv/backup
    keep: 7

- name: Remove a backup from a pool
  virtfleet.cloud.virt_rbd_backup:
    name: test-1
    to: pool:backup
    backup: 20261124-081500z
    state: absent
"""

RETURN = r"""
vm:
  description: The VM.
  returned: success with O(state=present)
  type: dict
  sample: {name: test-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, node: node-1, state: running}
backup:
  description: The backup; null where there is none, so also where it would be made in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    number:
      description: Grows with every backup of the VM.
      type: int
    state:
      description: V(whole), V(partial) (it was cut off), or V(damaged) (something that it needs is not there).
      type: str
    problem:
      description: What is wrong with it.
      type: str
    kind:
      description: V(full) or V(incremental).
      type: str
    reason:
      description: Why it is a full one.
      type: str
    parent:
      description: The backup that it builds on.
      type: str
    created_at:
      description: The moment that it is of, in UTC.
      type: str
    guest:
      description: How the guest was at that moment, see RV(virtfleet.cloud.virt_rbd_snapshot#module:snapshot.guest).
      type: str
    node:
      description: The node that made it.
      type: str
    vm:
      description: Name of the VM.
      type: str
    vm_id:
      description: UUID of the VM.
      type: str
    volumes:
      description: The volumes that it holds, without the VM's name.
      type: list
      elements: str
    bytes:
      description: Size of its streams.
      type: int
    size_bytes:
      description: Size of its volumes.
      type: int
  sample:
    name: 20261124-081500z
    number: 2
    state: whole
    problem: ""
    kind: incremental
    reason: ""
    parent: 20261123-081500z
    created_at: "2026-11-24T08:15:00Z"
    guest: frozen
    node: node-1
    vm: test-1
    vm_id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    volumes: [root, seed]
    bytes: 12582912
    size_bytes: 10737418240
backups:
  description: All backups of VMs of this name that are there, the oldest first.
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [snapshot test-1@backup-one-5c2a9f01, write test-1.root, write test-1.seed, publish test-1/one]
timings_ms:
  description: Milliseconds that each action took, and the total.
  returned: success
  type: dict
  sample: {snapshot: 880, write: 5210, publish: 12, total: 6300}
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.backup_plan import KINDS
from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run_backup import run_backup_module
from ..module_utils.snapshot_plan import FREEZE

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str"},
    "node": {"type": "str"},
    "mac": {"type": "str"},
    "request": {"type": "dict", "default": {}},
    "to": {"type": "str", "required": True},
    "backup": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "kind": {"type": "str", "choices": list(KINDS), "default": "auto"},
    "full_every": {"type": "int", "default": 7},
    "keep": {"type": "int"},
    "freeze": {"type": "str", "choices": list(FREEZE), "default": "auto"},
    "rate": {"type": "float"},
    "timeout": {"type": "int", "default": 3600},
    **NODE_OPTIONS,
}


def main() -> None:
    """Entry point of the module."""
    run_backup_module(
        AnsibleModule(
            argument_spec=ARGUMENT_SPEC,
            required_if=[("state", "present", ("id",)), ("state", "absent", ("backup",))],
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
