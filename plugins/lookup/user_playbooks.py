# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup user_playbooks."""

from __future__ import annotations

DOCUMENTATION = r"""
name: user_playbooks
short_description: The playbooks for users, as job templates of AWX
version_added: 0.1.0
description:
  - Reads the playbooks of a directory. Those that describe their variables in C(__variables) are for users.
  - One that also has C(__template=false) is none for AWX.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
options:
  _terms:
    description: Directories.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Show what there is
  ansible.builtin.debug:
    msg: "{{ query('virtfleet.cloud.user_playbooks', 'playbooks') | map(attribute='name') }}"
"""

RETURN = r"""
_raw:
  description:
    - The playbooks, by their file names, each with C(playbook) (the name of its file), C(name) (of the job template),
      C(description), C(variables) and C(survey).
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils.user_playbooks import templates


class LookupModule(LookupBase):
    """Reads playbooks."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
        """All of the directories in one list."""
        found = [template for term in terms for template in templates(Path(term))]
        if not found:
            raise AnsibleLookupError(f"there are no playbooks for users in {', '.join(terms)}")
        return found
