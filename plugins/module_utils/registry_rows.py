# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions are put together from: reading, judging and writing rows with a cursor."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import image_names
from . import registry_nics as nics
from . import registry_seeds as seeds
from . import registry_subnets as subnets
from .errors import Conflict, Invalid, NotFound, VirtfleetError
from .field_reader import FieldReader
from .nic import parse_nics
from .placement_wish import PlacementWish, read_wish
from .registry_connection import as_utc
from .spec import DEFAULTS, VmSpec

COLUMNS = f"""id::text, name, project, node, state, memory_mib, vcpus, disk_gib, image, mac::text,
    host(ip) AS ip, tags,
    {as_utc("created_at")} AS created_at, step, error, spec,
    protected"""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of a VM that is leased: its state, or what failed and how.

    Attributes:
        event: what was done to it that its row does not show, for its history; with `detail`.
        snapshot: what it was cloned from, where that was left open.
        undo: the VM as it was shown before a change that was refused, to be so again.
        node: where it moved to; None where it did not move.
        address_kept: whether its address is still the one that is recorded.
    """

    name: str
    lease: str
    state: str | None = None
    step: str | None = None
    error: Mapping[str, Any] | None = None
    event: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    node: str | None = None
    address_kept: bool = True
    snapshot: str | None = None
    undo: Mapping[str, Any] | None = None


def new_lease(actor: str) -> str:
    """What a lease is held by."""
    # The random part tells two runs of one person apart; what people are shown is before it.
    return f"{actor} {secrets.token_hex(8)}"


def find(cursor: Any, name: str) -> dict[str, Any] | None:
    """The VM of this name that is not deleted, locked until the transaction ends."""
    return find_all(cursor, [name]).get(name)


def find_all(cursor: Any, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Those of these VMs that are not deleted, by name, locked until the transaction ends.

    Whoever locks several locks them by name, so that no two wait for each other.
    """
    cursor.execute(
        f"""SELECT {COLUMNS}, made, lease_by, lease_until, lease_until >= now() AS leased,
               to_char(updated_at AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"') AS lease_begins,
               to_char(lease_until AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"') AS lease_ends
            FROM vm WHERE name = ANY(%s) AND state <> 'deleted' ORDER BY name FOR UPDATE""",
        (list(names),),
    )
    return {row["name"]: row for row in cursor.fetchall()}


def deleted(cursor: Any, name: str) -> dict[str, Any] | None:
    """The VM of this name that was deleted last, locked until the transaction ends."""
    cursor.execute(
        f"""SELECT {COLUMNS} FROM vm WHERE name = %s AND state = 'deleted'
            ORDER BY updated_at DESC LIMIT 1 FOR UPDATE""",
        (name,),
    )
    row: dict[str, Any] | None = cursor.fetchone()
    return row


def bring_back(cursor: Any, row: Mapping[str, Any], node: str) -> None:
    """A deleted VM holds its name and room again, on a node; its volumes are still to follow until it is recorded."""
    cursor.execute(
        f"""UPDATE vm SET state = 'stopped', node = %s, spec = spec || '{{"restoring": true}}', updated_at = now(),
               ip = {nics.STATIC_IP} WHERE id = %s""",
        (node, row["id"]),
    )


def existing(cursor: Any, name: str) -> dict[str, Any]:
    """The VM of this name; NotFound when there is none."""
    row = find(cursor, name)
    if row is None:
        raise no_vm(name)
    return row


def no_vm(name: str) -> NotFound:
    """The error of a name that no VM has."""
    return NotFound(f"There is no VM {name!r}", "list_vms.yml shows those that there are.")


def leased(cursor: Any, name: str, lease: str) -> dict[str, Any]:
    """The VM of this name, if this lease is still its own."""
    row = existing(cursor, name)
    refuse_other_lease(row, lease)
    return row


def refuse_other_lease(row: Mapping[str, Any], lease: str) -> None:
    """Busy, where the lease of a VM is not this one any more."""
    if row["lease_by"] != lease:
        name = row["name"]
        raise VirtfleetError("busy", f"VM {name} is not leased by us any more", "Run again; it continues from there.")


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


def write_record(cursor: Any, vm_id: str, record: Record) -> None:
    """Write what became of a VM, and give its lease back. Without an error it was made, and nothing is to follow."""
    cursor.execute(
        f"""UPDATE vm SET state = coalesce(%(state)s, state), made = made OR %(done)s, step = %(step)s,
               error = %(error)s, node = coalesce(%(node)s, node),
               ip = CASE WHEN %(address_kept)s THEN ip ELSE {nics.STATIC_IP} END,
               spec = spec - CASE WHEN %(done)s THEN 'restoring' ELSE '' END
                           - CASE coalesce(%(state)s, state) WHEN 'migrating' THEN '' ELSE 'moving_to' END
                           || CASE WHEN %(snapshot)s::text IS NULL THEN '{{}}' ELSE jsonb_build_object('source',
                                  spec->'source' || jsonb_build_object('snapshot', %(snapshot)s::text)) END,
               lease_by = NULL, lease_until = NULL, updated_at = now() WHERE id = %(id)s""",
        {
            "state": record.state,
            "done": record.error is None,
            "step": record.step,
            "error": json.dumps(_storable(record.error)) if record.error else None,
            "node": record.node,
            "address_kept": record.address_kept,
            "snapshot": record.snapshot,
            "id": vm_id,
        },
    )


def refuse_half_moved(row: Mapping[str, Any]) -> None:
    """A move that was cut off has to be finished first: where the VM runs is not known here."""
    if row["state"] == "migrating":
        raise Conflict(
            f"VM {row['name']} is half-way from {row['node']} to {row['spec'].get('moving_to')}",
            "Finish that first: migrate_vm.yml with the same name.",
        )


def take_lease(cursor: Any, vm_id: str, actor: str, seconds: int, state: str) -> str:
    """Nobody else changes this VM from now on, for so many seconds."""
    lease = new_lease(actor)
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
        "ram_max": ("memory_max_mib", spec.memory_max_mib),
        "cpu_max": ("vcpus_max", spec.vcpus_max),
        "disks": ("disks", [disk.as_dict() for disk in spec.disks]),
        "anti_affinity": ("anti_affinity", spec.placement.anti_affinity),
        "node_labels": ("node_labels", dict(spec.placement.labels)),
        "networks": ("networks", nics.as_given(spec.nics, nics.of_row(row))),
        "protected": ("protected", spec.protected),
    }
    there = shown(row)
    found = [
        f"{name} is {there[column]}, not {value}"
        for name, (column, value) in wanted.items()
        if name in spec.given and there[column] != value and not (name == "image" and _is_version(row, spec))
    ]
    return found + [f"{name} differs" for name in seeds.other_fields(row, spec) if name in spec.given]


def other_source(row: Mapping[str, Any], spec: VmSpec) -> list[str]:
    """Where the VM is a clone of something else than what was asked for, or half-made in the other way."""
    there, wanted = row["spec"].get("source"), spec.source
    if wanted is None:
        return [f"it is a clone of {there['name']}: clone_vm.yml finishes it"] if there and not row["made"] else []
    if there is None:
        return [f"it is no clone of {wanted.name}"]
    found = [f"source is {there['name']}, not {wanted.name}"] if there["name"] != wanted.name else []
    if wanted.snapshot is not None and wanted.snapshot != there["snapshot"]:
        found.append(f"snapshot is {there['snapshot'] or 'left open'}, not {wanted.snapshot}")
    return found


def source_problem(row: Mapping[str, Any] | None, name: str) -> str | None:
    """Why nothing can be cloned from the VM of this name, by its row; None where it can."""
    if row is None:
        return f"source {name} is no VM (list_vms.yml shows those that there are)"
    if row["state"] == "deleting":
        return f"source {name} is being deleted"
    if not row["made"]:
        return f"source {name} is half-made"
    if row["spec"].get("restoring"):
        return f"source {name} is being brought back (undelete_vm.yml)"
    return None


def _is_version(row: Mapping[str, Any], spec: VmSpec) -> bool:
    """Whether the VM has a version of the image that was asked for without one; there may be newer ones by now."""
    return image_names.split(row["image"])[0] == spec.image


def images(cursor: Any) -> dict[str, int]:
    """The size in GiB of every image."""
    cursor.execute("SELECT name, size_gib FROM image ORDER BY name")
    return {row["name"]: row["size_gib"] for row in cursor.fetchall()}


def refuse_unknown(
    cursor: Any, spec: VmSpec, names: Sequence[str], there: Mapping[str, int], known_problems: Sequence[str]
) -> VmSpec:
    """Refuse nodes and images that are not there, together with the problems that are known already.

    Args:
        names: those of the nodes that are there.
        there: the sizes of the images that are there, see images.

    Returns:
        The VM with the version of the image, and the addresses in subnets, that it gets.
    """
    problems = list(known_problems)
    wrong = {problem.split()[0] for problem in problems}
    if spec.node is not None and spec.node not in names and "node" not in wrong:
        problems.append(f"node {spec.node} is none of {', '.join(names) or 'no nodes at all'}")
    networks = spec.networks
    if not problems:
        try:
            networks = subnets.connect(cursor, spec.networks)
        except Invalid as error:
            problems += error.problems
    problems += nics.taken(cursor, networks)
    # A clone hangs on its source, and needs no image to be there.
    chosen = spec.image if spec.source else image_names.choose(there, spec.image)
    if "image" in wrong or spec.source:
        pass
    elif chosen is None:
        problems.append(f"image {spec.image} is none of {', '.join(there) or 'no images at all'}")
    elif spec.disk_gib < there[chosen]:
        problems.append(f"disk {spec.disk_gib} GiB is smaller than image {chosen} ({there[chosen]} GiB)")
    if problems or chosen is None:
        raise Invalid(problems)
    return replace(spec, image=chosen, networks=networks)


def refuse_taken(cursor: Any, row: Mapping[str, Any]) -> None:
    """Refuse to bring a VM back whose MAC or static address another one has by now.

    Raises:
        Conflict: with all of these.
    """
    problems = nics.taken(cursor, parse_nics(nics.of_row(row)))
    if problems:
        raise Conflict(f"VM {row['name']} cannot come back as it was", "Delete or change the others first.", problems)


def growable(spec: VmSpec) -> dict[str, Any]:
    """What of a VM can change and has no column of its own."""
    return {
        "memory_max_mib": spec.memory_max_mib,
        "vcpus_max": spec.vcpus_max,
        "disks": [disk.as_dict() for disk in spec.disks],
    }


def change(cursor: Any, row: Mapping[str, Any], spec: VmSpec) -> None:
    """Give a VM other sizes and data disks."""
    cursor.execute(
        """UPDATE vm SET memory_mib = %s, vcpus = %s, disk_gib = %s, protected = %s, spec = spec || %s,
               updated_at = now() WHERE id = %s""",
        (spec.memory_mib, spec.vcpus, spec.disk_gib, spec.protected, json.dumps(growable(spec)), row["id"]),
    )


def undo(cursor: Any, row: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Give a VM the sizes and data disks back that it had, as `view` showed them."""
    growable = {key: before[key] for key in ("memory_max_mib", "vcpus_max", "disks")}
    cursor.execute(
        """UPDATE vm SET memory_mib = %s, vcpus = %s, disk_gib = %s, protected = %s, spec = spec || %s WHERE id = %s""",
        (
            *(before[key] for key in ("memory_mib", "vcpus", "disk_gib", "protected")),
            json.dumps(growable),
            row["id"],
        ),
    )


def placement_of(row: Mapping[str, Any]) -> PlacementWish:
    """What the VM was asked for with of its node."""
    return read_wish(FieldReader(row["spec"].get("placement", {})))


def as_request(row: Mapping[str, Any]) -> dict[str, Any]:
    """What create_vm.yml would have to be given to make this VM, without its seed."""
    vm = shown(row)
    names = {
        "name": "name", "project": "project", "ram": "memory_mib", "cpu": "vcpus", "disk": "disk_gib", "image": "image",
        "node": "node", "tags": "tags", "ram_max": "memory_max_mib", "cpu_max": "vcpus_max", "disks": "disks",
        "protected": "protected",
    }  # fmt: skip
    return {name: vm[column] for name, column in names.items()} | row["spec"].get("placement", {})


def refuse_half_made(row: Mapping[str, Any]) -> None:
    """Only a VM that was made can be changed."""
    if not row["made"]:
        raise Conflict(f"VM {row['name']} is half-made", "Finish that first: create_vm.yml or clone_vm.yml, as before.")


def event(cursor: Any, vm_id: str, actor: str, action: str, detail: Mapping[str, Any]) -> None:
    """Add to what happened to a VM; it can never be changed again."""
    cursor.execute(
        "INSERT INTO event (vm, actor, action, detail) VALUES (%s, %s, %s, %s)",
        (vm_id, actor, action, json.dumps(_storable(detail))),
    )


def _storable(value: Any) -> Any:
    """What others said, without what no text in PostgreSQL can have: a failure has to be kept, whatever it says."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, (list, tuple)) else value


def node(cursor: Any, name: str) -> dict[str, str]:
    """Name and address of a node."""
    cursor.execute("SELECT name, address FROM node WHERE name = %s", (name,))
    return dict(cursor.fetchone())


def node_of(cursor: Any, name: str) -> dict[str, str]:
    """Name and address of the node of a VM; NotFound when there is none of this name."""
    cursor.execute(
        """SELECT node.name, node.address FROM vm JOIN node ON node.name = vm.node
           WHERE vm.name = %s AND vm.state <> 'deleted'""",
        (name,),
    )
    row = cursor.fetchone()
    if row is None:
        raise no_vm(name)
    return dict(row)


_SHOWN = (
    "id", "name", "project", "node", "state", "memory_mib", "vcpus", "disk_gib", "image", "mac", "ip", "tags",
    "created_at", "step", "error", "protected",
)  # fmt: skip


_DIFFED = (
    "name", "project", "node", "state", "memory_mib", "vcpus", "disk_gib", "image", "tags", "step", "error",
    "memory_max_mib", "vcpus_max", "disks", "protected", "guest_user", "ssh_authorized_keys", "seed_generation",
)  # fmt: skip


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The VM in the result shape."""
    growable = {
        "memory_max_mib": row["spec"].get("memory_max_mib", row["memory_mib"]),
        "vcpus_max": row["spec"].get("vcpus_max", row["vcpus"]),
        "disks": row["spec"].get("disks", []),
        "networks": nics.of_row(row),
    }
    asked = row["spec"].get("placement", {})
    placement = {"anti_affinity": asked.get("anti_affinity"), "node_labels": asked.get("node_labels") or {}}
    generation = row["spec"].get("seed_generation", 0)
    seed = {
        "copied": bool(row["spec"].get("copied") or row["spec"].get("source")),
        "guest_user": row["spec"].get("guest_user", DEFAULTS["guest_user"]),
        "ssh_authorized_keys": row["spec"].get("ssh_authorized_keys", []),
        "seed_generation": generation,
        "instance_id": f"{row['id']}.{generation}" if generation else row["id"],
    }
    source = {"source": row["spec"]["source"]} if row["spec"].get("source") else {}
    console = f"virsh -c qemu:///system console {row['name']}"
    return {key: row[key] for key in _SHOWN} | growable | placement | seed | source | {"console": console}


def view(row: Mapping[str, Any]) -> dict[str, Any]:
    """The VM in diffs: without what is drawn by lot (id, mac), so that check mode shows the same as the run."""
    vm = shown(row)
    return {key: vm[key] for key in _DIFFED} | ({"source": vm["source"]} if "source" in vm else {})
