# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions read and write to be what is there again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import registry_rebuild as rebuilding
from . import registry_rows as rows
from .reconcile_plan import Finding


def all_rows(cursor: Any, to_write: bool = True) -> list[dict[str, Any]]:
    """Every VM that is not deleted, with whether it is leased and was made, and for how long its row is as it is.

    Args:
        to_write: locks them until the transaction ends.
    """
    cursor.execute(
        f"""SELECT {rows.COLUMNS}, made, coalesce(lease_until >= now(), false) AS leased,
               extract(epoch FROM now() - updated_at)::int AS unchanged_seconds
            FROM vm WHERE state <> 'deleted' ORDER BY name {"FOR UPDATE" if to_write else ""}"""
    )
    return [dict(row) for row in cursor.fetchall()]


def write(cursor: Any, findings: Iterable[Finding], actor: str, action: str) -> None:
    """Write what mends the rows, and tell their history that this action did."""
    for finding in findings:
        if finding.lost is not None:
            rebuilding.record(cursor, finding.lost, actor, action)
        if not finding.changes:
            continue
        cursor.execute(
            """UPDATE vm SET node = coalesce(%(node)s, node), state = coalesce(%(state)s, state),
                   ip = coalesce(%(ip)s::inet, ip), updated_at = now() WHERE id = %(id)s""",
            {"node": None, "state": None, "ip": None, **finding.changes, "id": finding.vm_id},
        )
        rows.event(cursor, finding.vm_id, actor, action, {"found": finding.kind, **finding.changes})
