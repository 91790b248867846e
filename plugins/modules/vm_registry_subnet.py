#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_subnet; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_subnet
short_description: Make a subnet that VMs get addresses from
version_added: 0.1.0
description:
  - A VM that asks for an address of the subnet is given one that no other VM has, in the transaction that reserves its
    name, and sets it up at its first boot.
  - VMs that are in a subnet keep what they have when it is changed.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  diff_mode:
    support: full
    description: The definition before and after; the same in check mode and in a run.
options:
  name:
    description: Name of the subnet, an RFC 1123 label.
    type: str
    required: true
  state:
    description: V(absent) takes it away, if no VM is in it.
    type: str
    choices: [present, absent]
    default: present
  cidr:
    description: The network, like V(192.0.2.0/24). Needed with O(state=present).
    type: str
  network:
    description: The libvirt network of the nodes that interfaces in it are connected to.
    type: str
  bridge:
    description: The bridge of the nodes that they are connected to. Without both it is what a node has by default.
    type: str
  vlan:
    description: Tag of the VLAN that the bridge puts them into.
    type: raw
  gateway:
    description: Default gateway, which no VM is given as its address.
    type: str
  dns:
    description: Addresses of name servers.
    type: list
    elements: str
  search:
    description: Domains that guests complete names with.
    type: list
    elements: str
  first:
    description: The first address that is given to VMs which name none. Default is the first of the network.
    type: str
  last:
    description: The last of these. Default is the last of the network.
    type: str
  reserved:
    description: Addresses that are only given to a VM which names them.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Make a subnet
  virtfleet.cloud.vm_registry_subnet:
    name: lan
    cidr: 192.0.2.0/24
    bridge: br0
    gateway: 192.0.2.1
    dns: [192.0.2.53]
    first: 192.0.2.100
    last: 192.0.2.199
"""

RETURN = r"""
subnet:
  description: The subnet as it is now.
  returned: O(state=present)
  type: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
