# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the registry's transactions write the rows of new VMs: however many they are, in one statement."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import registry_nics as nics
from . import registry_seeds as seeds
from .nic import Nic
from .registry_rows import COLUMNS, growable, new_lease
from .spec import VmSpec

_TYPES = {
    "id": "uuid", "name": "text", "project": "text", "node": "text", "state": "text", "memory_mib": "integer",
    "vcpus": "integer", "disk_gib": "integer", "image": "text", "mac": "macaddr", "ip": "inet", "tags": "text[]",
    "protected": "boolean", "spec": "jsonb", "lease_by": "text",
}  # fmt: skip

_INSERT = f"""WITH new AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(%(rows)s)
            AS new ({", ".join(f"{column} {kind}" for column, kind in _TYPES.items())}, detail jsonb)),
    told AS (INSERT INTO event (vm, actor, action, detail) SELECT id, %(actor)s, %(action)s, detail FROM new)
    INSERT INTO vm ({", ".join(_TYPES)}, lease_until)
        SELECT {", ".join(_TYPES)}, now() + %(lease_seconds)s * interval '1 second' FROM new RETURNING {COLUMNS}"""


@dataclass(frozen=True, slots=True)
class NewVm:
    """A VM that gets a row, on a node. `id` is that of one that was before; a new one draws its own."""

    spec: VmSpec
    node: str
    id: str | None = None


def insert(
    cursor: Any, vm: NewVm, actor: str, lease_seconds: int, action: str = "create"
) -> tuple[dict[str, Any], str]:
    """insert_all for one."""
    ((row, lease),) = insert_all(cursor, [vm], actor, lease_seconds, action)
    return row, lease


def insert_all(
    cursor: Any, vms: Sequence[NewVm], actor: str, lease_seconds: int, action: str = "create"
) -> list[tuple[dict[str, Any], str]]:
    """Make the rows of VMs and tell their history of this action; returns each row with its lease."""
    macs = iter(nics.free_macs(cursor, sum(not nic.mac for vm in vms for nic in vm.spec.nics)))
    new = [_row(vm, nics.with_macs(vm.spec.nics, macs), new_lease(actor)) for vm in vms]
    values = {"rows": json.dumps(new), "actor": actor, "action": action, "lease_seconds": lease_seconds}
    cursor.execute(_INSERT, values)
    made = {row["id"]: dict(row) for row in cursor.fetchall()}
    return [(made[row["id"]], row["lease_by"]) for row in new]


def _row(vm: NewVm, networks: Sequence[Nic], lease: str) -> dict[str, Any]:
    spec = vm.spec
    return {
        "id": vm.id or str(uuid.uuid4()),
        "name": spec.name,
        "project": spec.project,
        "node": vm.node,
        "state": "creating",
        "memory_mib": spec.memory_mib,
        "vcpus": spec.vcpus,
        "disk_gib": spec.disk_gib,
        "image": spec.image,
        "mac": networks[0].mac,
        "ip": networks[0].ip,
        "tags": list(spec.tags),
        "protected": spec.protected,
        "spec": _spec(spec, networks),
        "lease_by": lease,
        "detail": {"node": vm.node} | _source(spec),
    }


def _spec(spec: VmSpec, networks: Sequence[Nic]) -> dict[str, Any]:
    """What of a VM has no column of its own."""
    placement = {"placement": spec.placement.as_request()}
    connected = {"networks": [nic.as_dict() for nic in networks]}
    return seeds.as_kept(spec) | growable(spec) | connected | placement | _source(spec)


def _source(spec: VmSpec) -> dict[str, Any]:
    return {"source": spec.source.as_dict()} if spec.source else {}
