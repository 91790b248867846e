#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_project; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_project
short_description: Give a project its quotas
version_added: 0.1.0
description:
  - What the VMs of the project may have in sum. What is left out is not limited, and with none at all nothing is.
  - VMs that are there are never touched by it; only what is to be made, or to grow, is refused.
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
    description: Name of the project.
    type: str
    required: true
  vms:
    description: Number of its VMs.
    type: raw
  cpu:
    description: Virtual CPUs.
    type: raw
  ram:
    description: Memory in MiB, or with a unit like V(64GiB).
    type: raw
  disk:
    description: Root and data disks in GiB, or with a unit like V(2TiB).
    type: raw
"""

EXAMPLES = r"""
- name: Let a project have ten VMs
  virtfleet.cloud.vm_registry_project:
    name: shop
    vms: 10
    ram: 64GiB
"""

RETURN = r"""
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
