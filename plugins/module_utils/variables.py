# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the variables that a playbook takes. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from .errors import Invalid

# Settings that every play may be given: Ansible's, AWX's, and those of the inventory and the roles.
SETTING_PREFIXES = (
    "ansible_", "awx_", "tower_", "registry_", "vm_", "lab_", "ceph_", "libvirt_", "postgresql_", "redis_", "__",
)  # fmt: skip


def refuse_wrong(known: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any], extra: Collection[str]) -> None:
    """Refuse what is misspelt, missing, or none of the values that there are.

    Args:
        known: the variables by name; `required` says which must be given, `choices` what they can be.
        given: those that have a value.
        extra: the names that the user gave explicitly.

    Raises:
        Invalid: every problem at once.
    """
    unknown = [name for name in extra if name not in known and not name.startswith(SETTING_PREFIXES)]
    problems = [_unknown(name, known) for name in sorted(unknown)]
    problems += [
        f"variable {name} is missing ({variable['description'].rstrip('.')})"
        for name, variable in known.items()
        if variable.get("required") and name not in given
    ]
    problems += [
        f"{name} {given[name]!r} is none of {', '.join(variable['choices'])}"
        for name, variable in known.items()
        if name in given and "choices" in variable and given[name] not in variable["choices"]
    ]
    if problems:
        raise Invalid(problems)


def _unknown(name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, known, 1)
    if nearest:
        return f"there is no variable {name}, the nearest is {nearest[0]}"
    return f"there is no variable {name}; there are {', '.join(known)}"
