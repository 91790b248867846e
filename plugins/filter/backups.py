# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that shows backups as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..module_utils.pace import MIB
from ..plugin_utils.table import table

COLUMNS = ("VM", "Backup", "CreatedAt", "Kind", "MiB", "Guest", "State", "Volumes")


def backup_table(backups: Iterable[Mapping[str, Any]]) -> str:
    """The backups with aligned columns."""
    return table(COLUMNS, [_row(backup) for backup in backups])


def _row(backup: Mapping[str, Any]) -> dict[str, str]:
    stored = backup.get("bytes")
    return {
        "VM": backup["vm"],
        "Backup": backup["name"],
        "CreatedAt": backup.get("created_at", ""),
        "Kind": backup.get("kind", ""),
        "MiB": "" if stored is None else f"{stored / MIB:.1f}",
        "Guest": backup.get("guest", ""),
        "State": backup["state"],
        "Volumes": ",".join(backup.get("volumes", ())),
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"backup_table": backup_table}
