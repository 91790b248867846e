# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the trash can go for good: (what is due, what hangs on it) -> what goes, in order, and what stays. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .plan_types import TrashedVolume


@dataclass(frozen=True, slots=True)
class Holder:
    """An image that hangs on a snapshot of another one. `name` is that with its pool."""

    id: str
    name: str
    in_trash: bool = False

    def __str__(self) -> str:
        return f"{self.name} (in the trash)" if self.in_trash else self.name


def decide_purge(
    due: Sequence[TrashedVolume], holders: Mapping[str, Sequence[Holder]]
) -> tuple[list[TrashedVolume], list[str]]:
    """The volumes that go, clones before what they hang on, and why the others stay.

    A VM goes whole or not at all: what was left of it could not be brought back.

    Args:
        holders: what hangs on each volume, by its id in the trash.
    """
    vms: dict[str, list[TrashedVolume]] = {}
    for volume in due:
        vms.setdefault(volume.vm_id, []).append(volume)
    going: list[TrashedVolume] = []
    while free := [vm for vm, volumes in vms.items() if not _holding(volumes, holders, going)]:
        for vm in free:
            going += vms.pop(vm)
    problems = [
        f"{volume.name} has clones: {', '.join(map(str, found))}"
        for volumes in vms.values()
        for volume, found in _holding(volumes, holders, going)
    ]
    return going, problems


def _holding(
    volumes: Sequence[TrashedVolume], holders: Mapping[str, Sequence[Holder]], going: Sequence[TrashedVolume]
) -> list[tuple[TrashedVolume, list[Holder]]]:
    """The volumes of a VM that something hangs on which neither goes before it nor is of this VM itself."""
    gone = {volume.trash_id for volume in (*going, *volumes)}
    found = [(volume, [holder for holder in holders[volume.trash_id] if holder.id not in gone]) for volume in volumes]
    return [(volume, held_by) for volume, held_by in found if held_by]
