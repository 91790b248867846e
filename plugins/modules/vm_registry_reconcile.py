#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_reconcile; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_reconcile
short_description: Compare the registry with what the nodes and Redis say, and mend it
version_added: 0.1.0
description:
  - Finds VMs that are on another node or in another state than the registry says, that are on none, or that were cut
    off half-way, domains that nobody knows, addresses that are not recorded, and entries of Redis that are wrong.
  - A VM that somebody is changing is left alone, and so is what may be on a node that did not answer.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  diff_mode:
    support: none
    description: RV(findings) says what differs.
options:
  nodes:
    description:
      - What M(virtfleet.cloud.virt_rbd_vm_info) returned on each node that answered, by its name. Without its
        C(details) VMs that the registry does not have are reported only.
    type: dict
    required: true
  silent:
    description: The nodes that did not answer.
    type: list
    elements: str
    default: []
  apply:
    description:
      - Mend what can be mended, which is states, nodes and addresses in the registry, VMs that it does not have, see
        M(virtfleet.cloud.vm_registry_rebuild), and entries of Redis.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Compare
  virtfleet.cloud.vm_registry_reconcile:
    nodes:
      node-1: "{{ hostvars['node-1'].told }}"
  register: reconcile
"""

RETURN = r"""
findings:
  description:
    - What differs, each with C(kind), C(name), C(detail) and C(action), which is empty where a person has to look.
      A C(missing_domain) is mended by reconcile.yml on its node, with the intent C(redefine) of
      M(virtfleet.cloud.vm_registry).
  returned: success
  type: list
  elements: dict
known_ids:
  description: UUIDs of all VMs that the registry has or that have a domain.
  returned: success
  type: list
  elements: str
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
