# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions are put together from: reading, judging and writing rows with a cursor."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import image_names
from .errors import Conflict, Invalid, NotFound, VirtfleetError
from .spec import VmSpec

COLUMNS = """id::text, name, project, node, state, memory_mib, vcpus, disk_gib, image, mac::text,
    host(ip) AS ip, tags,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at, step, error"""


def _lease(actor: str) -> str:
    # The random part tells two runs of one person apart; what people are shown is before it.
    return f"{actor} {secrets.token_hex(8)}"


def find(cursor: Any, name: str) -> dict[str, Any] | None:
    """The VM of this name that is not deleted, locked until the transaction ends."""
    cursor.execute(
        f"""SELECT {COLUMNS}, made, protected, lease_by, lease_until, lease_until >= now() AS leased, spec,
               to_char(updated_at AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"') AS lease_begins,
               to_char(lease_until AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"') AS lease_ends
            FROM vm WHERE name = %s AND state <> 'deleted' FOR UPDATE""",
        (name,),
    )
    row: dict[str, Any] | None = cursor.fetchone()
    return row


def existing(cursor: Any, name: str) -> dict[str, Any]:
    """The VM of this name; NotFound when there is none."""
    row = find(cursor, name)
    if row is None:
        raise NotFound(f"There is no VM {name!r}", "list_vms.yml shows those that there are.")
    return row


def leased(cursor: Any, name: str, lease: str) -> dict[str, Any]:
    """The VM of this name, if this lease is still its own."""
    row = existing(cursor, name)
    if row["lease_by"] != lease:
        raise VirtfleetError("busy", f"VM {name} is not leased by us any more", "Run again; it continues from there.")
    return row


def refuse_leased(row: Mapping[str, Any]) -> None:
    """Busy, with who and since when, while somebody else changes the VM."""
    if row["leased"]:
        who = row["lease_by"].rsplit(" ", 1)[0]
        raise VirtfleetError(
            "busy",
            f"VM {row['name']} is being changed by {who} since {row['lease_begins']},"
            f" until {row['lease_ends']} at the latest",
            "Wait and run again.",
        )


def refuse_half_deleted(row: Mapping[str, Any]) -> None:
    """A delete that was cut off can only be finished: what is left of the VM is not known here."""
    if row["state"] == "deleting":
        raise Conflict(f"VM {row['name']} is half-deleted", "Finish that first: delete_vm.yml with the same name.")


def take_lease(cursor: Any, vm_id: str, actor: str, seconds: int, state: str) -> str:
    """Nobody else changes this VM from now on, for so many seconds."""
    lease = _lease(actor)
    cursor.execute(
        """UPDATE vm SET lease_by = %s, lease_until = now() + %s * interval '1 second', state = %s, updated_at = now()
           WHERE id = %s""",
        (lease, seconds, state, vm_id),
    )
    return lease


def differences(row: Mapping[str, Any], spec: VmSpec) -> list[str]:
    """Where the VM differs from what the user gave this time; what was left out does not count."""
    wanted = {
        "project": ("project", spec.project),
        "ram": ("memory_mib", spec.memory_mib),
        "cpu": ("vcpus", spec.vcpus),
        "disk": ("disk_gib", spec.disk_gib),
        "image": ("image", spec.image),
        "node": ("node", spec.node),
        "tags": ("tags", list(spec.tags)),
    }
    found = [
        f"{name} is {row[column]}, not {value}"
        for name, (column, value) in wanted.items()
        if name in spec.given and row[column] != value and not (name == "image" and _is_version(row, spec))
    ]
    return found + [f"{name} differs" for name in _other_seed_fields(row, spec) if name in spec.given]


def _is_version(row: Mapping[str, Any], spec: VmSpec) -> bool:
    """Whether the VM has a version of the image that was asked for without one; there may be newer ones by now."""
    return image_names.split(row["image"])[0] == spec.image


def _other_seed_fields(row: Mapping[str, Any], spec: VmSpec) -> list[str]:
    wanted = _seed_request(spec)
    fields = {"user_data": "user_data_sha256", "ssh_authorized_keys": "ssh_authorized_keys"}
    return [name for name, key in fields.items() if row["spec"].get(key) != wanted[key]]


def refuse_other_seed(row: Mapping[str, Any], spec: VmSpec) -> None:
    """A half-made VM is finished with what it was asked for with: the registry does not hold user-data to go on by."""
    problems = [f"{name} was given then, and is not now" for name in _other_seed_fields(row, spec)]
    if problems:
        raise Conflict(
            f"VM {spec.name} is half-made and was asked for with another seed",
            "Give the same again, or delete it (delete_vm.yml) and begin anew.",
            problems,
        )


def nodes_with_use(cursor: Any) -> list[dict[str, Any]]:
    """Every node with its capacity and what its VMs use of it."""
    cursor.execute(
        """SELECT node.name, node.state, node.vcpus, node.memory_mib,
               coalesce(sum(vm.vcpus), 0) AS used_vcpus, coalesce(sum(vm.memory_mib), 0) AS used_memory_mib
           FROM node LEFT JOIN vm ON vm.node = node.name AND vm.state <> 'deleted'
           GROUP BY node.name ORDER BY node.name"""
    )
    return [dict(row) for row in cursor.fetchall()]


def images(cursor: Any) -> dict[str, int]:
    """The size in GiB of every image."""
    cursor.execute("SELECT name, size_gib FROM image ORDER BY name")
    return {row["name"]: row["size_gib"] for row in cursor.fetchall()}


def refuse_unknown(cursor: Any, spec: VmSpec, nodes: list[dict[str, Any]], known_problems: Sequence[str]) -> VmSpec:
    """Refuse nodes and images that are not there, together with the problems that are known already.

    Returns:
        The VM with the version of the image that it gets.
    """
    problems = list(known_problems)
    wrong = {problem.split()[0] for problem in problems}
    names = [node["name"] for node in nodes]
    if spec.node is not None and spec.node not in names and "node" not in wrong:
        problems.append(f"node {spec.node} is none of {', '.join(names) or 'no nodes at all'}")
    there = images(cursor)
    chosen = image_names.choose(there, spec.image)
    if "image" in wrong:
        pass
    elif chosen is None:
        problems.append(f"image {spec.image} is none of {', '.join(there) or 'no images at all'}")
    elif spec.disk_gib < there[chosen]:
        problems.append(f"disk {spec.disk_gib} GiB is smaller than image {chosen} ({there[chosen]} GiB)")
    if problems or chosen is None:
        raise Invalid(problems)
    return replace(spec, image=chosen)


def insert(cursor: Any, spec: VmSpec, node: str, actor: str, lease_seconds: int) -> str:
    """Make the row of a new VM; returns its lease."""
    row: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": spec.name,
        "project": spec.project,
        "node": node,
        "state": "creating",
        "memory_mib": spec.memory_mib,
        "vcpus": spec.vcpus,
        "disk_gib": spec.disk_gib,
        "image": spec.image,
        "mac": _free_mac(cursor),
        "tags": list(spec.tags),
        "spec": json.dumps(_seed_request(spec)),
    }
    columns, values = ", ".join(row), ", ".join(f"%({column})s" for column in row)
    cursor.execute(f"INSERT INTO vm ({columns}) VALUES ({values})", row)
    event(cursor, row["id"], actor, "create", {"node": node})
    return take_lease(cursor, row["id"], actor, lease_seconds, "creating")


def _seed_request(spec: VmSpec) -> dict[str, Any]:
    """What the user asked of the seed; of user-data only the digest, as it may hold secrets."""
    return {"user_data_sha256": spec.user_data_sha256, "ssh_authorized_keys": list(spec.ssh_authorized_keys)}


def _free_mac(cursor: Any) -> str:
    """A random MAC with QEMU's prefix that no VM has; the unique index would refuse it otherwise."""
    while True:
        mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
        cursor.execute("SELECT 1 FROM vm WHERE mac = %s AND state <> 'deleted'", (mac,))
        if cursor.fetchone() is None:
            return mac


def event(cursor: Any, vm_id: str, actor: str, action: str, detail: Mapping[str, Any]) -> None:
    """Add to what happened to a VM; it can never be changed again."""
    cursor.execute(
        "INSERT INTO event (vm, actor, action, detail) VALUES (%s, %s, %s, %s)",
        (vm_id, actor, action, json.dumps(detail)),
    )


def node(cursor: Any, name: str) -> dict[str, str]:
    """Name and address of a node."""
    cursor.execute("SELECT name, address FROM node WHERE name = %s", (name,))
    return dict(cursor.fetchone())


_SHOWN = (
    "id", "name", "project", "node", "state", "memory_mib", "vcpus", "disk_gib", "image", "mac", "ip", "tags",
    "created_at", "step", "error",
)  # fmt: skip


_DIFFED = (
    "name", "project", "node", "state", "memory_mib", "vcpus", "disk_gib", "image", "tags", "step", "error",
)  # fmt: skip


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The VM in the result shape."""
    return {key: row[key] for key in _SHOWN} | {"console": f"virsh -c qemu:///system console {row['name']}"}


def view(row: Mapping[str, Any]) -> dict[str, Any]:
    """The VM in diffs: without what is drawn by lot (id, mac), so that check mode shows the same as the run."""
    return {key: row[key] for key in _DIFFED}
