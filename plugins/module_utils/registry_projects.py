# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of projects: quotas, and what is used of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import VirtfleetError
from .spec import VmSpec

RESOURCES = {"vms": "VMs", "vcpus": "virtual CPUs", "memory_mib": "MiB of memory", "disk_gib": "GiB of disks"}

_USE = """SELECT project AS name, count(*) AS vms, sum(vcpus) AS vcpus, sum(memory_mib) AS memory_mib,
        sum(disk_gib + (SELECT coalesce(sum((disk->>'size_gib')::integer), 0)
                        FROM jsonb_array_elements(coalesce(spec->'disks', '[]')) AS disk)) AS disk_gib
    FROM vm WHERE state <> 'deleted'"""


def listed(cursor: Any) -> list[dict[str, Any]]:
    """Every project that has VMs or a quota, by name: `name`, and `used` and `quota` of each of RESOURCES."""
    cursor.execute(f"{_USE} GROUP BY project")
    used = {row.pop("name"): dict(row) for row in map(dict, cursor.fetchall())}
    allowed = quotas(cursor)
    return [
        {
            "name": name,
            "used": {key: int(used.get(name, {}).get(key) or 0) for key in RESOURCES},
            "quota": {key: allowed.get(name, {}).get(key) for key in RESOURCES},
        }
        for name in sorted(used.keys() | allowed.keys())
    ]


def put(cursor: Any, name: str, quota: Mapping[str, int | None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a project these quotas and no other; with none at all it has none.

    Returns:
        The quotas before and after.
    """
    fields = ", ".join(RESOURCES)
    cursor.execute(f"SELECT {fields} FROM project WHERE name = %s FOR UPDATE", (name,))
    before = dict(cursor.fetchone() or dict.fromkeys(RESOURCES))
    after = {key: quota.get(key) for key in RESOURCES}
    if before != after:
        cursor.execute("DELETE FROM project WHERE name = %s", (name,))
        if any(value is not None for value in after.values()):
            values = ", ".join(f"%({key})s" for key in RESOURCES)
            cursor.execute(f"INSERT INTO project (name, {fields}) VALUES (%(name)s, {values})", {"name": name, **after})
    return before, after


def quotas(cursor: Any) -> dict[str, dict[str, int | None]]:
    """The quotas of every project that has some, by name."""
    cursor.execute(f"SELECT name, {', '.join(RESOURCES)} FROM project")
    return {row.pop("name"): dict(row) for row in map(dict, cursor.fetchall())}


def refuse_over_quota(
    cursor: Any,
    spec: VmSpec,
    row: Mapping[str, Any] | None = None,
    known: Mapping[str, Mapping[str, int | None]] | None = None,
) -> None:
    """Refuse a VM that its project has no quota for; one that is there may always shrink.

    Args:
        row: the VM as it is, if it is there.
        known: all quotas, where they were read before.

    Raises:
        VirtfleetError: quota, with every resource that is missing.
    """
    quota = (quotas(cursor) if known is None else known).get(spec.project)
    if quota is None:
        return
    vm_id = None if row is None else row["id"]
    cursor.execute(f"{_USE} AND project = %s AND id::text IS DISTINCT FROM %s GROUP BY project", (spec.project, vm_id))
    used = dict(cursor.fetchone() or {})
    wanted, has = _of_spec(spec), _of_row(row)
    problems = []
    for key, what in RESOURCES.items():
        limit = quota[key]
        free = None if limit is None else limit - int(used.get(key) or 0)
        if free is not None and wanted[key] > max(free, has[key]):
            problems.append(f"{max(free, 0)} of {limit} {what} free, {wanted[key]} needed")
    if problems:
        raise VirtfleetError(
            "quota",
            f"Project {spec.project} has no quota left for {spec.name}",
            "Make it smaller, delete others of the project, or give it more (set_quota.yml).",
            problems,
        )


def _of_spec(spec: VmSpec) -> dict[str, int]:
    disks = spec.disk_gib + sum(disk.size_gib for disk in spec.disks)
    return {"vms": 1, "vcpus": spec.vcpus, "memory_mib": spec.memory_mib, "disk_gib": disks}


def _of_row(row: Mapping[str, Any] | None) -> dict[str, int]:
    if row is None:
        return dict.fromkeys(RESOURCES, 0)
    disks = row["disk_gib"] + sum(disk["size_gib"] for disk in row["spec"].get("disks", []))
    return {"vms": 1, "vcpus": row["vcpus"], "memory_mib": row["memory_mib"], "disk_gib": disks}
