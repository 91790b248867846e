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

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..module_utils.survey import survey, template_name


class LookupModule(LookupBase):
    """Reads playbooks."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
        """All of the directories in one list."""
        files = [file for term in terms for file in sorted(Path(term).glob("*.yml"))]
        if not files:
            raise AnsibleLookupError(f"there are no playbooks in {', '.join(terms)}")
        described = [(file, _first_play(file).get("vars", {})) for file in files]
        return [
            _template(file, play_vars["__variables"])
            for file, play_vars in described
            if "__variables" in play_vars and play_vars.get("__template", True)
        ]


def _first_play(file: Path) -> dict[str, Any]:
    plays: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return plays[0]


def _template(file: Path, variables: dict[str, Any]) -> dict[str, Any]:
    return {
        "playbook": file.name,
        "name": template_name(file.stem),
        "description": _summary(file),
        "variables": variables,
        "survey": survey(variables),
    }


def _summary(file: Path) -> str:
    """What the playbook does: the first paragraph of the comment at its head."""
    comments = (line[1:].strip() for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    paragraph: list[str] = []
    for comment in comments:
        if not comment:
            break
        paragraph.append(comment)
    return " ".join(paragraph)
