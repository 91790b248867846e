# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that shows what happened to a VM as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..plugin_utils.table import table

COLUMNS = ("At", "Who", "What", "Detail")


def history_table(events: Iterable[Mapping[str, Any]]) -> str:
    """The events, the first things first, as a table with aligned columns."""
    rows = [
        {"At": event["at"], "Who": event["actor"], "What": event["action"], "Detail": _shown(event["detail"])}
        for event in reversed(list(events))
    ]
    return table(COLUMNS, rows)


def _shown(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{field}: {_from_to(value)}" for field, value in detail.items())


def _from_to(value: Any) -> str:
    """What a field was and became, or what it is."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return f"{_word(value[0])} -> {_word(value[1])}"
    return _word(value)


def _word(value: Any) -> str:
    return "-" if value is None else str(value)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"history_table": history_table}
