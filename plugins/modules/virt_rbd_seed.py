#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module virt_rbd_seed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virt_rbd_seed
short_description: Write another seed for a VM that is there, or take it away when it was read
version_added: 0.1.0
description:
  - The seed tells the guest at its first boot its name, its network, its users and what else cloud-init is to do.
  - Another seed has an effect at the next boot of the guest if its O(instance_id) is a new one, and none otherwise.
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
    description: Whether the seed says what it is to say, and is in the drive; the same in check mode and in a run.
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
  state:
    description:
      - V(present) has the seed say what the options say, and be in the drive of the VM.
      - V(wiped) leaves nothing in it but who the guest is, and its network, so that the guest finds itself again.
      - V(locked) takes it out of the drive, so that nothing in the guest can read it; its volume stays.
        It is in the drive again when the VM is defined anew, after M(virtfleet.cloud.virt_rbd_vm) with C(restore).
      - For V(wiped) and V(locked) the guest's first boot has to be over, which its agent tells.
    type: str
    choices: [present, wiped, locked]
    default: present
  instance_id:
    description: What cloud-init tells instances apart by. Default is O(id), which a VM is made with.
    type: str
  vcpus:
    description: Number of virtual CPUs that the VM has.
    type: int
  vcpus_max:
    description: Up to here their number can grow; with more than O(vcpus) the guest switches added ones on by itself.
    type: int
  wait_timeout:
    description: Seconds to wait for the end of the first boot.
    type: int
    default: 300
  allow_power_cycle:
    description: Stop and start a VM that runs, so that it reads another seed at once; see RV(restart_required).
    type: bool
    default: false
  shutdown_timeout:
    description: Seconds that the guest has to shut down for that.
    type: int
    default: 60
  force:
    description: Do not ask whether the first boot is over; cut the power instead of waiting for the guest.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Let another key in from the next boot on
  virtfleet.cloud.virt_rbd_seed:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    instance_id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11.1
    networks:
      - mac: "52:54:00:12:34:56"
    ssh_authorized_keys: ["{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"]

- name: Leave no secrets behind in the seed
  virtfleet.cloud.virt_rbd_seed:
    name: test-1
    id: 6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11
    state: wiped
    networks:
      - mac: "52:54:00:12:34:56"
"""

RETURN = r"""
vm:
  description: The VM that it belongs to, with C(name), C(id), C(node) and C(state).
  returned: success
  type: dict
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [write_seed test-1.seed, insert_seed test-1.seed]
restart_required:
  description: Whether the guest reads the seed only when it boots the next time.
  returned: success
  type: bool
timings_ms:
  description: Milliseconds that each kind of step took.
  returned: success
  type: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_config import NODE_OPTIONS
from ..module_utils.run_seed import run_seed_module
from ..module_utils.seed_plan import SEED_STATES
from ..module_utils.vm_options import SEED_OPTIONS

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "node": {"type": "str"},
    "state": {"type": "str", "choices": list(SEED_STATES), "default": "present"},
    "instance_id": {"type": "str"},
    "vcpus": {"type": "int"},
    "vcpus_max": {"type": "int"},
    "wait_timeout": {"type": "int", "default": 300},
    "allow_power_cycle": {"type": "bool", "default": False},
    "shutdown_timeout": {"type": "int", "default": 60},
    "force": {"type": "bool", "default": False},
    **SEED_OPTIONS,
    **NODE_OPTIONS,
}


def main() -> None:
    """Entry point of the module."""
    run_seed_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
