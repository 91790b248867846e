# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup request."""

from __future__ import annotations

DOCUMENTATION = r"""
name: request
short_description: What the user asked of a playbook
version_added: 0.1.0
description:
  - Reads the variables that the play describes in C(__variables) into one mapping.
    Those that are not given, or null, are left out.
  - Values given with C(-e) are taken as they are, never as templates, since a name comes from a person or a program.
  - Refuses names given with C(-e) that the play does not describe, with the nearest that it does.
    Settings pass, which are names that begin with C(ansible_), C(awx_), C(tower_), C(registry_), C(vm_), C(lab_),
    C(ceph_), C(libvirt_), C(postgresql_), C(redis_) or C(__).
    In a job of AWX the results of the jobs before it in a workflow pass too.
  - Says which required variables are missing, and which have a value that they cannot have.
    A variable is described by C(description) and any of C(type), C(required), C(default), C(choices), C(min), C(max),
    C(unit) and C(secret); P(virtfleet.cloud.user_playbooks#lookup) makes the survey of AWX of the same.
  - A list or a mapping can be given as YAML text, as a survey of AWX has no other way.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
options: {}
"""

EXAMPLES = r"""
- name: Say hello to a VM
  hosts: localhost
  vars:
    __variables:
      name: {required: true, description: The VM to greet.}
      loudly: {type: bool, default: false, description: In capitals.}
    __request: "{{ lookup('virtfleet.cloud.request') }}"
  tasks:
    - name: Say it
      ansible.builtin.debug:
        msg: "Hello {{ __request.name }}"
"""

RETURN = r"""
_raw:
  description: The mapping.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.unsafe_proxy import wrap_var
from ansible.utils.vars import load_extra_vars

from ..module_utils.errors import VirtfleetError
from ..module_utils.variables import Variable, refuse_wrong
from ..plugin_utils.user_playbooks import read_text


class LookupModule(LookupBase):
    """Reads the play's variables."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
        """One mapping of name to value."""
        known = (variables or {})["__variables"]
        extra = load_extra_vars(self._loader)
        given = {name: self._value(name, known[name], extra, variables or {}) for name in known}
        given = {name: value for name, value in given.items() if value is not None}
        try:
            refuse_wrong(known, given, extra)
        except VirtfleetError as error:
            raise AnsibleLookupError(str(error)) from None
        return [given]

    def _value(self, name: str, variable: Variable, extra: dict[str, Any], variables: dict[str, Any]) -> Any:
        if name in extra:
            return wrap_var(read_text(variable, extra[name]))
        return read_text(variable, self._templar.template(variables.get(name)))
