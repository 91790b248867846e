# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to VMs, as the registry keeps it: events are only ever added."""

from __future__ import annotations

from typing import Any

from .errors import NotFound
from .registry_connection import as_utc


def of_name(cursor: Any, name: str, limit: int) -> list[dict[str, Any]]:
    """What happened to all VMs that have or had this name, the last things first.

    Raises:
        NotFound: there never was one.
    """
    cursor.execute(
        f"""SELECT event.id, {as_utc("at")} AS at, vm::text AS vm_id,
               actor, action, detail
           FROM event JOIN vm ON vm.id = event.vm WHERE vm.name = %s ORDER BY event.id DESC LIMIT %s""",
        (name, limit),
    )
    events = [dict(row) for row in cursor.fetchall()]
    if not events:
        raise NotFound(f"There never was a VM {name!r}", "list_vms.yml shows those that there are.")
    return events
