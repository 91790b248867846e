# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX asks before it runs a playbook, made from the playbook's own description of its variables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .variables import Variable

# AWX has no question of yes and no, and compares texts.
_YES_NO = ["true", "false"]
_QUESTIONS = {
    "str": "text",
    "label": "text",
    "int": "integer",
    "count": "integer",
    "size": "integer",
    "float": "float",
    "list": "textarea",
    "dict": "textarea",
    "yaml": "textarea",
}
_LABEL_LENGTH = 63


def survey(variables: Mapping[str, Variable]) -> dict[str, Any]:
    """The survey of AWX, empty without questions; files of the controller are none, as a job's container keeps none."""
    asked = {name: variable for name, variable in variables.items() if variable.get("type") != "path"}
    spec = [_question(name, variable) for name, variable in asked.items()]
    return {"name": "", "description": "", "spec": spec} if spec else {}


def template_name(playbook: str) -> str:
    """What the job template of a playbook is called: create_vm is Create VM."""
    words = [{"vm": "VM", "vms": "VMs"}.get(word, word) for word in playbook.split("_")]
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]])


def _question(name: str, variable: Variable) -> dict[str, Any]:
    question = {
        "variable": name,
        "question_name": f"{name} ({variable['unit']})" if "unit" in variable else name,
        "question_description": variable["description"],
        "required": bool(variable.get("required")),
        **_answer(variable),
    }
    # One that has no default is left out of the job when nobody answers it, and is not given to the play.
    if "default" in variable:
        question["default"] = _default(question["type"], variable["default"])
    return question


def _answer(variable: Variable) -> dict[str, Any]:
    """Type and limits of the answer, as AWX checks them."""
    kind = variable.get("type", "str")
    if "choices" in variable or kind == "bool":
        return {"type": "multiplechoice", "choices": list(variable.get("choices", _YES_NO))}
    if variable.get("secret"):
        return {"type": "password"}
    limits = {key: variable[key] for key in ("min", "max") if key in variable}
    if kind == "label":
        # Limits of a text are those of its length.
        limits = {"min": 1, "max": _LABEL_LENGTH}
    elif variable.get("required") and kind == "str":
        limits = {"min": 1}
    return {"type": _QUESTIONS[kind], **limits}


def _default(question: str, default: Any) -> Any:
    if question in ("integer", "float"):
        return default
    return str(default).lower() if isinstance(default, bool) else str(default)
