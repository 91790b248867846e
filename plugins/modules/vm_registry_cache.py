#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_cache; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_cache
short_description: Have Redis forget on which nodes VMs are
version_added: 0.1.0
description:
  - For when the registry is another one than before. What is asked for then is read from PostgreSQL, and cached again.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
extends_documentation_fragment:
  - virtfleet.cloud.registry
attributes:
  check_mode:
    support: full
    description: Reports what would be forgotten.
  diff_mode:
    support: none
    description: RV(names) says what is forgotten.
options: {}
"""

EXAMPLES = r"""
- name: Forget where VMs were
  virtfleet.cloud.vm_registry_cache:
"""

RETURN = r"""
names:
  description: The VMs whose nodes were cached.
  returned: success
  type: list
  elements: str
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
