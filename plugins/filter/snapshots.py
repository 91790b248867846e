# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that shows the snapshots of a VM as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

_GIB = 1024**3
COLUMNS = ("SNAPSHOT", "CREATEDAT", "SIZE", "USED", "GUEST", "STATE", "VOLUMES")


def snapshot_table(snapshots: Iterable[Mapping[str, Any]]) -> str:
    """The snapshots with aligned columns, sizes in GiB."""
    lines = [COLUMNS, *(_cells(snapshot) for snapshot in snapshots)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cells(snapshot: Mapping[str, Any]) -> tuple[str, ...]:
    volumes = [*snapshot["volumes"], *(f"-{volume}" for volume in snapshot["missing"])]
    return (
        snapshot["name"],
        snapshot["created_at"] or "",
        f"{snapshot['size_bytes'] / _GIB:g}",
        "" if snapshot["used_bytes"] is None else f"{snapshot['used_bytes'] / _GIB:.2f}",
        snapshot["guest"] or "",
        snapshot["state"],
        ",".join(volumes),
    )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"snapshot_table": snapshot_table}
