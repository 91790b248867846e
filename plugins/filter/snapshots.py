# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that shows the snapshots of a VM as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..module_utils.plan_types import GIB
from ..plugin_utils.table import table

COLUMNS = ("Snapshot", "CreatedAt", "Size", "Used", "Guest", "State", "Volumes")


def snapshot_table(snapshots: Iterable[Mapping[str, Any]]) -> str:
    """The snapshots with aligned columns, sizes in GiB."""
    return table(COLUMNS, [_row(snapshot) for snapshot in snapshots])


def _row(snapshot: Mapping[str, Any]) -> dict[str, str]:
    volumes = [*snapshot["volumes"], *(f"-{volume}" for volume in snapshot["missing"])]
    used = snapshot["used_bytes"]
    return {
        "Snapshot": snapshot["name"],
        "CreatedAt": snapshot["created_at"] or "",
        "Size": f"{snapshot['size_bytes'] / GIB:g}",
        "Used": "" if used is None else f"{used / GIB:.2f}",
        "Guest": snapshot["guest"] or "",
        "State": snapshot["state"],
        "Volumes": ",".join(volumes),
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"snapshot_table": snapshot_table}
