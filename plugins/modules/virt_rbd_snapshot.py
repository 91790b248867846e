#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_snapshot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_snapshot
short_description: Make, remove and go back to snapshots of a VM whose disks are on Ceph RBD
version_added: 0.1.0
description:
  - A snapshot of a VM is one RBD snapshot of the same name on each of its volumes but the seed, made at one moment.
  - A running guest is frozen meanwhile through its agent; where that is not possible, and there is more than one
    volume, it is paused for the moment. Either way it is let go whatever happens.
  - A record in the metadata of the root volume says which volumes a snapshot is of. Snapshots without one were made by
    somebody else; they are shown, and never touched.
  - A run that was cut off is found out by its record. Its snapshot is C(incomplete), and made anew by the next run with
    the same name; the next run with any name thaws or resumes the guest.
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
    description: State and snapshots of the VM before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the VM.
    type: str
    required: true
  id:
    description: UUID of the VM, as the registry gave it.
    type: str
    required: true
  node:
    description: Name of this node in the registry. Default is the host name.
    type: str
  snapshot:
    description:
      - Name of the snapshot; an RFC 1123 label in lower case.
      - With O(state=present) the default is the time in UTC, such as V(20261124-081500z).
    type: str
  state:
    description:
      - V(present) makes the snapshot where it is missing.
      - V(absent) removes it, unless something was cloned from it.
      - V(rolled_back) gives all volumes the content that they had, and keeps their size.
        A VM that is running is refused without O(allow_power_cycle).
    type: str
    choices: [present, absent, rolled_back]
    default: present
  keep:
    description:
      - With O(state=present), remove our oldest snapshots beyond this number, and those that were cut off.
      - Snapshots that something was cloned from stay, with a warning.
    type: int
  freeze:
    description:
      - Whether the guest's file systems are frozen while it is running.
      - V(auto) does it where the guest's agent answers, V(required) fails where it does not,
        V(never) leaves the guest alone.
    type: str
    choices: [auto, never, required]
    default: auto
  allow_power_cycle:
    description:
      - With O(state=rolled_back), shut a running VM down before, and start it afterwards.
      - Its power is cut where the guest does not shut down in time.
    type: bool
    default: false
  start:
    description:
      - With O(state=rolled_back), start the VM afterwards also where it is found stopped.
      - So a run that was cut off after it had stopped the VM is finished.
    type: bool
    default: false
  shutdown_timeout:
    description: Seconds that the guest has to shut down.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Make a snapshot, and keep the newest seven
  virtfleet.cloud.virt_rbd_snapshot:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    keep: 7

- name: Go back to a snapshot
  virtfleet.cloud.virt_rbd_snapshot:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    snapshot: before-upgrade
    state: rolled_back
    allow_power_cycle: true
"""

RETURN = r"""
vm:
  description: The VM after the run, or as it would be after it in check mode.
  returned: success
  type: dict
  sample: {name: test-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, node: node-1, state: running}
snapshot:
  description: The snapshot; null where there is none, so also where it would be made in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    state:
      description: V(whole), V(incomplete) (it cannot be gone back to), or V(foreign) (not made by this module).
      type: str
    created_at:
      description: When it was made, in UTC.
      type: str
    guest:
      description: How the guest was at that moment, V(frozen), V(paused), V(running), V(suspended) or V(stopped).
      type: str
    frozen:
      description: Whether the guest had written everything out and was frozen.
      type: bool
    size_bytes:
      description: Size of its volumes.
      type: int
    used_bytes:
      description:
        - What it takes, in whole objects, beyond the snapshot before it.
        - Only M(virtfleet.cloud.virt_rbd_snapshot_info) reads it, and only where the images have fast-diff.
      type: int
    volumes:
      description: The volumes that it is on.
      type: list
      elements: str
    missing:
      description: The volumes that it should be on and is not.
      type: list
      elements: str
    clones:
      description: What was cloned from it, where that was asked for.
      type: list
      elements: str
  sample:
    name: 20261124-081500z
    state: whole
    created_at: "2026-11-24T08:15:00Z"
    guest: frozen
    frozen: true
    size_bytes: 10737418240
    used_bytes: null
    volumes: [test-1.root]
    missing: []
    clones: []
snapshots:
  description: All snapshots of the VM, the oldest first.
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [snapshot test-1@20261124-081500z, remove_snapshot test-1@20261117-081500z]
timings_ms:
  description:
    - Milliseconds that each action took, and the total.
    - C(freeze), C(create) and C(thaw) are parts of C(snapshot).
  returned: success
  type: dict
  sample: {observe: 60, freeze: 110, create: 640, thaw: 30, snapshot: 880, total: 1010}
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run_snapshot import run_snapshot_module
from ..module_utils.snapshot_plan import FREEZE, SNAPSHOT_STATES

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "node": {"type": "str"},
    "snapshot": {"type": "str"},
    "state": {"type": "str", "choices": list(SNAPSHOT_STATES), "default": "present"},
    "keep": {"type": "int"},
    "freeze": {"type": "str", "choices": list(FREEZE), "default": "auto"},
    "allow_power_cycle": {"type": "bool", "default": False},
    "start": {"type": "bool", "default": False},
    "shutdown_timeout": {"type": "int", "default": 60},
    **NODE_OPTIONS,
}


def main() -> None:
    """Entry point of the module."""
    run_snapshot_module(
        AnsibleModule(
            argument_spec=ARGUMENT_SPEC,
            required_if=[("state", "absent", ("snapshot",)), ("state", "rolled_back", ("snapshot",))],
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
