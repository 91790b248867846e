#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_subnet_info; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_subnet_info
short_description: Read the subnets from the registry
version_added: 0.1.0
description:
  - Lists the subnets with how many of their addresses are used.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: none
    description: Changes nothing.
options: {}
"""

EXAMPLES = r"""
- name: List the subnets
  virtfleet.cloud.vm_registry_subnet_info:
  register: registry
"""

RETURN = r"""
subnets:
  description:
    - The subnets by name, with C(name), C(cidr), C(network) or C(bridge), C(vlan), C(gateway), C(dns), C(search),
      C(first), C(last), C(reserved) and C(used).
  returned: success
  type: list
  elements: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
