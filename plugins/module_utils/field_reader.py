# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a user gave, one field after the other, and gathers what is wrong with it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# RFC 1123, section 2.1: letters, digits and hyphens, not at either end, at most 63; lower case only, as libvirt,
# RBD and DNS would otherwise disagree on whether two names are the same.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SIZE = re.compile(r"(?P<number>[0-9]{1,12})\s*(?P<unit>MiB|GiB|TiB)?")
_UNIT_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}


def name_problem(name: Any, what: str = "name") -> str | None:
    """Why this is no RFC 1123 label in lower case, or None when it is one."""
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        return (
            f"{what} {shown(name)} is not a DNS label: 1 to 63 of a-z, 0-9 and '-', "
            "beginning and ending with a letter or digit"
        )
    return None


class FieldReader:
    """A mapping of fields, and the problems found in them so far. None and absent are the same."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.problems: list[str] = []

    def value(self, key: str, default: Any) -> Any:
        value = self.raw.get(key)
        return default if value is None else value

    def label(self, key: str, default: str | None) -> str:
        value = self.value(key, default)
        problem = name_problem(value, key)
        if problem:
            self.problems.append(problem)
        return str(value)

    def count(self, key: str, default: int, limits: tuple[int, int]) -> int:
        number = _whole_number(self.value(key, default))
        if number is None or not limits[0] <= number <= limits[1]:
            self.problems.append(
                f"{key} {shown(self.value(key, default))} is not a whole number from {limits[0]} to {limits[1]}"
            )
            return default
        return number

    def size(self, key: str, default: int | None, unit: str, limits: tuple[int, int]) -> int:
        value = self.value(key, default)
        size = _size_in(value, unit)
        if size is None or not limits[0] <= size <= limits[1]:
            self.problems.append(
                f"{key} {shown(value)} is not a size from {limits[0]} to {limits[1]} {unit}"
                f" (a whole number of {unit}, or with a unit like '2GiB')"
            )
            return limits[0] if default is None else default
        return size

    def flag(self, key: str) -> bool:
        value = self.value(key, False)
        if not isinstance(value, bool) and str(value).lower() not in ("true", "false", "yes", "no"):
            self.problems.append(f"{key} {shown(value)} is neither true nor false")
        return str(value).lower() in ("true", "yes")

    def choice(self, key: str, choices: tuple[str, ...]) -> str | None:
        value = self.raw.get(key)
        if value is not None and value not in choices:
            self.problems.append(f"{key} {shown(value)} is none of {', '.join(choices)}")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], rule: str) -> str | None:
        value = self.raw.get(key)
        if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
            self.problems.append(f"{key} {shown(value)} is not {rule}")
        return value

    def strings(self, key: str, pattern: re.Pattern[str], rule: str) -> tuple[str, ...]:
        value = self.value(key, ())
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            self.problems.append(f"{key} is not a list")
            return ()
        for item in items:
            if not isinstance(item, str) or not pattern.fullmatch(item.strip()):
                self.problems.append(f"{key} has {shown(item)}, which is not {rule}")
        return tuple(dict.fromkeys(str(item).strip() for item in items))


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value.strip()):
        return int(value.strip())
    return None


def _size_in(value: Any, unit: str) -> int | None:
    """The size in `unit` (MiB or GiB), or None when it is not a whole number of them."""
    number = _whole_number(value)
    if number is not None:
        return number
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    mib = int(match["number"]) * _UNIT_MIB[match["unit"] or unit]
    whole, rest = divmod(mib, _UNIT_MIB[unit])
    return None if rest else whole


def shown(value: Any) -> str:
    """A value as messages quote it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
