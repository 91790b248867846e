#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of vm_registry_project_info; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_registry_project_info
short_description: Read the projects from the registry
version_added: 0.1.0
description:
  - Lists the projects with their quotas and what they use of these.
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
- name: List the projects
  virtfleet.cloud.vm_registry_project_info:
  register: registry
"""

RETURN = r"""
projects:
  description:
    - The projects that have VMs or quotas, by name, with C(name), C(used) and C(quota), each with C(vms), C(vcpus),
      C(memory_mib) and C(disk_gib). A quota that is null is no limit.
  returned: success
  type: list
  elements: dict
error:
  description: What went wrong, with C(code), C(message), C(hint) and C(problems).
  returned: failure
  type: dict
"""
