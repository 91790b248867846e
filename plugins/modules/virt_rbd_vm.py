#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_vm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_vm
short_description: Make, start, stop, suspend and delete a VM whose disks are on Ceph RBD
version_added: 0.1.0
description:
  - Brings one VM on one node into a state, in one remote execution, through librbd and libvirt.
  - The root volume is a clone of a golden image grown to size; the seed is a volume of its own.
  - A run that was cut off is continued by the next run with the same parameters.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.node
  - virtfleet.cloud.node.libvirt
  - virtfleet.cloud.seed
requirements:
  - python3-rados, python3-rbd, python3-libvirt and python3-pycdlib of the distribution, on the node
attributes:
  check_mode:
    support: full
    description: Decides and reports, and does nothing.
  diff_mode:
    support: full
    description: The state of the VM before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the VM; an RFC 1123 label in lower case. Its domain has it too, and its volumes begin with it.
    type: str
    required: true
  id:
    description: UUID of the VM, as the registry gave it; the UUID of its domain.
    type: str
    required: true
  state:
    description:
      - V(present) makes the VM where it is missing and leaves its power as it is.
      - V(stopped) shuts the guest down, V(suspended) pauses it.
      - V(absent) shuts it down, undefines it and moves its volumes to the trash.
    type: str
    choices: [present, running, stopped, suspended, absent]
    default: running
  node:
    description: Name of this node in the registry, kept as the owner of the VM. Default is the host name.
    type: str
  project:
    description: Project of the VM.
    type: str
    default: default
  image:
    description: Golden image to clone the root volume from. Without it only a VM that is there is acted on.
    type: str
  memory_mib:
    description: Memory in MiB. A VM that is there is given it, by a restart where it cannot take it while it runs.
    type: int
  memory_max_mib:
    description: Up to here the memory can grow while the VM runs. Default is O(memory_mib).
    type: int
  vcpus:
    description: Number of virtual CPUs; like O(memory_mib), compared and changed where the VM is there.
    type: int
  vcpus_max:
    description: Up to here their number can grow while the VM runs. Default is O(vcpus).
    type: int
  disk_gib:
    description:
      - Size of the root volume in GiB, at least that of the image. It grows while the VM runs.
      - Never shrunk; a smaller size than it has is refused.
    type: int
  source:
    description:
      - Clone the volumes from a snapshot of another VM instead of making them from O(image), which is only noted then.
      - Every disk has to be in the snapshot, and may be larger than there. The volumes hang on it until they are flat.
    type: dict
    suboptions:
      name:
        description: Name of that VM. It may run, on any node.
        type: str
        required: true
      id:
        description: Its UUID.
        type: str
        required: true
      snapshot:
        description: A whole snapshot that M(virtfleet.cloud.virt_rbd_snapshot) made of it. Default is the newest.
        type: str
  record:
    description:
      - What the registry has of the VM, as M(virtfleet.cloud.vm_registry) returns it with a claim. It is kept with the
        root volume, so that a registry that is lost can be rebuilt.
      - Without it what is kept already stays.
    type: dict
  remove_detached:
    description: Move the volumes of data disks that are detached to the trash instead of keeping them.
    type: bool
    default: false
  allow_power_cycle:
    description: Stop and start the VM where it cannot take a change while it runs; see RV(restart_required).
    type: bool
    default: false
  force:
    description: Cut the power instead of waiting for the guest.
    type: bool
    default: false
  purge:
    description: With O(state=absent), remove the volumes at once instead of moving them to the trash.
    type: bool
    default: false
  restore:
    description: Take the volumes of a VM that was deleted out of the trash, instead of making new ones.
    type: bool
    default: false
  restored:
    description: Take the volumes that M(virtfleet.cloud.virt_rbd_restore) made, with the seed, and make no new ones.
    type: bool
    default: false
  retention_days:
    description: How long the volumes of a deleted VM stay in the trash.
    type: int
    default: 7
  shutdown_timeout:
    description: Seconds that the guest has to shut down. With O(state=absent) its power is cut after that.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Run a VM
  virtfleet.cloud.virt_rbd_vm:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    image: debian-13
    memory_mib: 1024
    vcpus: 2
    disk_gib: 10
    networks:
      - mac: "52:54:00:12:34:56"
    ssh_authorized_keys: ["{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"]

- name: Give it more memory and a data disk
  virtfleet.cloud.virt_rbd_vm:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    state: present
    memory_mib: 2048
    vcpus: 2
    disks: [{name: data, size_gib: 20}]
    allow_power_cycle: true

- name: Clone another VM from it
  virtfleet.cloud.virt_rbd_vm:
    name: test-2
    id: 1a0f4c0e-3e5a-4f51-8f0a-5d1f7c2b9d22
    source: {name: test-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, snapshot: before-upgrade}
    image: debian-13
    memory_mib: 1024
    vcpus: 2
    disk_gib: 10
    mac: "52:54:00:12:34:57"

- name: Delete it; its volumes stay in the trash for a week
  virtfleet.cloud.virt_rbd_vm:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    state: absent
"""

RETURN = r"""
vm:
  description: The VM as it is after the run, or would be after it in check mode.
  returned: success
  type: dict
  sample: {name: test-1, id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11, node: node-1, state: running}
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [take_ownership test-1, clone test-1.root, write_seed test-1.seed, define test-1, start test-1]
snapshot:
  description: The snapshot of O(source) that the VM was cloned from.
  returned: success
  type: str
  sample: before-upgrade
restart_required:
  description: Whether a part of a change is only seen after the VM was stopped and started.
  returned: success
  type: bool
untouched:
  description: Whether it is known that nothing was done.
  returned: failure
  type: bool
timings_ms:
  description: Milliseconds that each action took, and the total.
  returned: success
  type: dict
  sample: {observe: 31, clone: 29, start: 339, total: 450}
error:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    code:
      description: One of the documented codes, for programs.
      type: str
    message:
      description: One sentence for people.
      type: str
    hint:
      description: What to do.
      type: str
    problems:
      description: Every finding.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run import run_vm_module
from ..module_utils.vm_options import REQUIRED_BY, VM_OPTIONS


def main() -> None:
    """Entry point of the module."""
    run_vm_module(
        AnsibleModule(
            argument_spec=VM_OPTIONS | NODE_OPTIONS,
            required_by=REQUIRED_BY,
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
