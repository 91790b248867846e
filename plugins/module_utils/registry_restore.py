# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of a VM that is made from a backup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import registry_nics as nics
from . import registry_rows as rows
from .errors import Conflict, Invalid
from .rebuild_plan import RECORD_VERSION, RECORDED
from .registry_insert import NewVm, insert
from .registry_nodes import Room
from .registry_projects import refuse_over_quota
from .registry_subnets import connect
from .spec import VmSpec, parse_request

# What of spec tells how the guest takes itself, and so belongs to its disks.
_OF_ITS_GUEST = ("seed_generation", "copied")
# What a backup may say other than the row of the deleted VM does, and what that gets back if nothing comes of it.
_COLUMNS = ("project", "node", "memory_mib", "vcpus", "disk_gib", "image", "mac", "tags", "protected")


def request_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What create_vm.yml would have to be given to make this VM anywhere, without user-data."""
    seed = {name: row["spec"].get(name) for name in ("guest_user", "ssh_authorized_keys", *_OF_ITS_GUEST)}
    return rows.as_request(row) | seed | {"node": None, "networks": nics.of_row(row)}


def record_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept with a VM's volume, to make its row anew from; see rebuild_plan for how it is read."""
    spec = {name: row["spec"][name] for name in RECORDED if row["spec"].get(name)}
    request = {name: value for name, value in request_of(row).items() if value is not None and name not in spec}
    return {"version": RECORD_VERSION, "created_at": row["created_at"], "request": request, "spec": spec}


def is_restoring(row: Mapping[str, Any]) -> bool:
    """Whether the VM is being made from a backup. What comes from the trash is marked by a bare true."""
    return isinstance(row["spec"].get("restoring"), Mapping)


def refuse_half_restored(row: Mapping[str, Any]) -> None:
    """What of its volumes is in the trash is not what the backup holds."""
    if is_restoring(row):
        backup = row["spec"]["restoring"]["backup"]
        raise Conflict(
            f"VM {row['name']} is half-restored from backup {backup}",
            "Finish that first (restore_vm.yml with the same values), or delete it (delete_vm.yml).",
        )


def continued(row: Mapping[str, Any], backup: str) -> None:
    """Refuse a name that is taken by anything but a restore of this very backup that was cut off.

    Raises:
        Conflict: it is.
    """
    if is_restoring(row) and row["spec"]["restoring"]["backup"] == backup:
        return
    refuse_half_restored(row)
    raise Conflict(
        f"VM {row['name']} is there already",
        "Delete it first (delete_vm.yml moves it to the trash), or restore under another name (as=NAME).",
    )


def begin(cursor: Any, name: str, source: Mapping[str, Any], node: str | None, actor: str, lease_seconds: int) -> str:
    """Make the row of a VM that is made from a backup, or bring it back, and return its lease.

    Under the name that it had it is the VM as it was, with its id and MAC; under another one it is a new VM.

    Args:
        source: `backup`, its name as people write it, and `vm`, what its manifest says of the VM.

    Raises:
        Invalid: there is no such node, or the backup is of something that cannot be made any more.
        Conflict: another VM has its id or its MAC.
        VirtfleetError: no_capacity.
    """
    vm = source["vm"]
    request = {"networks": [{"mac": vm["mac"]}], **vm["request"], "name": name, "node": node}
    if name != vm["name"]:
        spec = parse_request(request | {"networks": [_of_another(nic) for nic in request["networks"]]})
        spec = replace(spec, networks=connect(cursor, spec.networks))
        row, lease = insert(cursor, NewVm(spec, _choose(cursor, spec)), actor, lease_seconds)
        _mark(cursor, row["id"], source["backup"], None, {"copied": True})
        return lease
    spec = parse_request(request)
    target = _choose(cursor, spec)
    old = _deleted(cursor, vm)
    taken = nics.taken(cursor, spec.networks)
    if taken:
        raise Conflict(f"VM {name} cannot be what it was", "Restore under another name (as=NAME).", taken)
    if old is None:
        _row, lease = insert(cursor, NewVm(spec, target, vm["id"]), actor, lease_seconds)
        guest = {name: vm["request"][name] for name in _OF_ITS_GUEST if vm["request"].get(name)}
        _mark(cursor, vm["id"], source["backup"], None, guest)
        return lease
    _bring_back(cursor, old, spec, vm, target)
    _mark(cursor, vm["id"], source["backup"], old, {})
    return rows.take_lease(cursor, vm["id"], actor, lease_seconds, "stopped")


def _choose(cursor: Any, spec: VmSpec) -> str:
    """The node that it is put on, if its project and a node have room for it."""
    with Room(cursor) as room:
        if spec.node not in (None, *room.names):
            raise Invalid([f"node {spec.node} is none of {', '.join(room.names) or 'no nodes at all'}"])
        refuse_over_quota(cursor, spec)
        return room.choose(spec)


def _of_another(nic: Mapping[str, Any]) -> dict[str, Any]:
    """An interface as another VM can have it beside the first: connected to the same, with an address of its own."""
    kept = ("subnet",) if "subnet" in nic else ("network", "bridge", "vlan")
    return {key: nic[key] for key in kept if key in nic}


def _deleted(cursor: Any, vm: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row that the VM had, if this registry knows it."""
    cursor.execute(f"SELECT {rows.COLUMNS} FROM vm WHERE id = %s FOR UPDATE", (vm["id"],))
    row: dict[str, Any] | None = cursor.fetchone()
    if row is not None and row["state"] != "deleted":
        raise Conflict(f"VM {row['name']} has the id {vm['id']}", "Delete it first, or restore under another name.")
    return row


def _bring_back(cursor: Any, old: Mapping[str, Any], spec: VmSpec, vm: Mapping[str, Any], node: str) -> None:
    rows.bring_back(cursor, old, node)
    cursor.execute(
        "UPDATE vm SET project = %s, image = %s, mac = %s, tags = %s WHERE id = %s",
        (spec.project, spec.image, vm["mac"], list(spec.tags), vm["id"]),
    )
    rows.change(cursor, old, spec)


def _mark(cursor: Any, vm_id: str, backup: str, old: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> None:
    """The VM counts as made, so that no create_vm.yml takes it for its own; its volumes are still to follow."""
    was = None if old is None else {"columns": {name: old[name] for name in _COLUMNS}, "spec": old["spec"]}
    cursor.execute(
        "UPDATE vm SET made = true, state = 'stopped', spec = spec || %s WHERE id = %s",
        (json.dumps({**facts, "restoring": {"backup": backup, "was": was}}), vm_id),
    )


def give_back(cursor: Any, row: Mapping[str, Any]) -> None:
    """Nothing came of a restore: a VM that was deleted before is again what the trash may still hold of it."""
    was = row["spec"]["restoring"]["was"] if is_restoring(row) else None
    if was is not None:
        columns = was["columns"]
        assignments = ", ".join(f"{column} = %({column})s" for column in columns)
        cursor.execute(
            f"UPDATE vm SET {assignments}, spec = %(spec)s WHERE id = %(id)s",
            {**columns, "spec": json.dumps(was["spec"]), "id": row["id"]},
        )
