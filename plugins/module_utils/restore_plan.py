# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to make the volumes of a VM from a backup: (wish, what is seen) -> Plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .backup_manifest import SEED, Manifest
from .errors import Conflict
from .ownership import refuse_elsewhere
from .plan_types import Plan, Step, VolumeFacts


@dataclass(frozen=True, slots=True)
class RestoreWish:
    """What was asked for: the VM that is to be made. With another id than that of the backup it is a new one."""

    name: str
    id: str
    node: str


@dataclass(frozen=True, slots=True)
class SeenVolume:
    """A volume that is there. `restored_from` is the backup that it was made from, if it was."""

    facts: VolumeFacts
    restored_from: str | None = None


def restored_disks(wish: RestoreWish, manifest: Manifest) -> list[str]:
    """The volumes that are made. A new VM gets a seed of its own, so that its guest knows that it is another."""
    return [part.disk for part in manifest.parts if part.disk != SEED or manifest.vm_id == wish.id]


def source_of(manifest: Manifest) -> str:
    """A backup as volumes that were made from it name it."""
    return f"{manifest.vm['name']}/{manifest.backup}"


def decide_restore(
    wish: RestoreWish, manifest: Manifest, owner: str | None, volumes: Mapping[str, SeenVolume | None]
) -> Plan:
    """The steps to the volumes of a VM. One that has its name is whole: it gets it last.

    Args:
        volumes: what is there by the names of those that are to be.

    Raises:
        VirtfleetError: something else is there.
    """
    refuse_elsewhere(wish.name, owner, wish.node)
    source = source_of(manifest)
    problems = [
        f"volume {name} is there and was not made from backup {source}"
        for name, seen in volumes.items()
        if seen is not None and (seen.facts.vm_id != wish.id or seen.restored_from != source)
    ]
    if problems:
        raise Conflict(
            f"VM {wish.name} cannot be restored where it is",
            "Delete it first (delete_vm.yml moves it to the trash), or restore it under another name.",
            problems,
        )
    names = {f"{wish.name}.{disk}": disk for disk in restored_disks(wish, manifest)}
    steps = [Step("restore_volume", name, {"disk": disk}) for name, disk in names.items() if volumes.get(name) is None]
    if steps and owner is None:
        steps.insert(0, Step("take_ownership", wish.name))
    before = {name: "present" if volumes.get(name) else "absent" for name in names}
    return Plan(
        tuple(steps),
        {"owner": owner, "volumes": before},
        {"owner": wish.node if steps else owner, "volumes": dict.fromkeys(names, "present")},
    )
