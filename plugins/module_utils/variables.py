# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that a playbook takes, by its own description of them; survey.py asks for them by the same. Pure.

A description has `description` and any of

    type      str (the default), label, int, count, size, float, bool, list, dict, yaml (a text, or a mapping in its
              place) or path (a file of the controller)
    required  whether it must be given
    default   what leaving it out is the same as, whatever else is given and whatever is there already
    choices   the values that it can have
    min, max  the limits of a number
    unit      of a size, MiB or GiB
    secret    it may hold secrets
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from .errors import Invalid
from .field_reader import shown

Variable = Mapping[str, Any]

# Settings that every play may be given: Ansible's, AWX's, and those of the inventory and the roles.
SETTING_PREFIXES = (
    "ansible_", "awx_", "tower_", "registry_", "vm_", "lab_", "ceph_", "libvirt_", "postgresql_", "redis_", "__",
)  # fmt: skip

# What plays leave as artifacts: in a workflow, AWX gives it to the jobs that follow.
RESULTS = (
    "vm", "vms", "changes", "error", "failed", "next", "image", "images", "nodes", "projects", "subnets", "snapshots",
    "backups", "events", "findings", "console_log",
)  # fmt: skip

_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")


def refuse_wrong(known: Mapping[str, Variable], given: Mapping[str, Any], extra: Collection[str]) -> None:
    """Refuse what is misspelt, missing, or no value that there can be.

    Args:
        known: the variables by name, each with its description.
        given: those that have a value.
        extra: the names that the user gave explicitly.

    Raises:
        Invalid: every problem at once.
    """
    passed = RESULTS if "awx_job_id" in extra else ()
    unknown = [
        name for name in extra if name not in known and name not in passed and not name.startswith(SETTING_PREFIXES)
    ]
    problems = [_unknown(name, known) for name in sorted(unknown)]
    problems += [
        f"variable {name} is missing ({variable['description'].rstrip('.')})"
        for name, variable in known.items()
        if variable.get("required") and name not in given
    ]
    problems += [
        f"{name} {shown(given[name])} {misfit}"
        for name, variable in known.items()
        if name in given and (misfit := _misfit(variable, given[name]))
    ]
    if problems:
        raise Invalid(problems)


def _unknown(name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, known, 1)
    if nearest:
        return f"there is no variable {name}, the nearest is {nearest[0]}"
    return f"there is no variable {name}; there are {', '.join(known)}"


def _misfit(variable: Variable, value: Any) -> str | None:
    """Why the variable cannot have this value, or None."""
    # label, count and size are read as such together with the whole request, so that all that is wrong is said at once.
    kind = variable.get("type", "str")
    if "choices" in variable:
        return None if value in variable["choices"] else f"is none of {', '.join(variable['choices'])}"
    if kind in ("str", "label", "path") and isinstance(value, (Mapping, list, tuple)):
        return "is not a text"
    if kind == "bool" and str(value).lower() not in _BOOLEANS:
        return "is neither true nor false"
    if kind == "int" and not _within(variable, re.fullmatch(r"-?[0-9]{1,12}", str(value).strip()), value):
        return f"is not a whole number{_limits(variable)}"
    if kind == "float" and not _within(variable, re.fullmatch(r"[0-9]{1,12}(\.[0-9]*)?", str(value).strip()), value):
        return f"is not a number{_limits(variable)}"
    return None


def _within(variable: Variable, is_number: object, value: Any) -> bool:
    return bool(is_number) and variable.get("min", float("-inf")) <= float(value) <= variable.get("max", float("inf"))


def _limits(variable: Variable) -> str:
    least, most = variable.get("min"), variable.get("max")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least is not None else f" of at most {most}" if most is not None else ""
