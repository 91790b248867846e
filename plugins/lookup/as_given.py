# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup plugin as_given."""

from __future__ import annotations

DOCUMENTATION = r"""
name: as_given
short_description: The value of a variable as it was given, never evaluated as a template
version_added: 0.1.0
description:
  - Ansible evaluates C({{ }}) in variables of the command line, while those that AWX passes on stay text.
  - With this lookup a value that must be taken literally, such as the name of a VM, is the same text either way.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
options:
  _terms:
    description: Names of variables.
    type: list
    elements: str
    required: true
  default:
    description: What stands for a variable that is not set.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Take the name literally
  virtfleet.cloud.vm_registry:
    state: claimed
    name: "{{ lookup('virtfleet.cloud.as_given', 'name') }}"
"""

RETURN = r"""
_raw:
  description: The values.
  type: list
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.unsafe_proxy import wrap_var


class LookupModule(LookupBase):
    """Reads variables past the template engine."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[Any]:
        """One value for each name."""
        self.set_options(var_options=variables, direct=options)
        return [wrap_var((variables or {}).get(term, self.get_option("default"))) for term in terms]
