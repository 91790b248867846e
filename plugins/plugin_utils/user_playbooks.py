# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks for users: what they say of their variables, and what is given for these as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..module_utils.survey import survey, template_name
from ..module_utils.variables import Variable


def templates(directory: Path) -> list[dict[str, Any]]:
    """The playbooks of a directory that describe their variables, as job templates of AWX, by file name."""
    variables_of = {file: _first_play(file).get("vars", {}) for file in sorted(directory.glob("*.yml"))}
    return [
        _template(file, variables["__variables"])
        for file, variables in variables_of.items()
        if "__variables" in variables and variables.get("__template", True)
    ]


def read_text(variable: Variable, value: Any) -> Any:
    """The list or mapping that a text stands for; a text that stands for none is left to whoever reads it."""
    if variable.get("type") not in ("list", "dict", "yaml") or not isinstance(value, str):
        return value
    try:
        meant = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return meant if isinstance(meant, (list, dict)) else value


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
