# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that shows what reconcile found as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..plugin_utils.table import table

COLUMNS = ("Name", "Kind", "Detail", "Action")


def findings_table(findings: Iterable[Mapping[str, str]]) -> str:
    """The findings by name; without an action a person has to look."""
    rows = [
        {column: finding[column.lower()] or "-" for column in COLUMNS}
        for finding in sorted(findings, key=lambda one: (one["name"], one["kind"]))
    ]
    return table(COLUMNS, rows) if rows else "Nothing differs."


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"findings_table": findings_table}
