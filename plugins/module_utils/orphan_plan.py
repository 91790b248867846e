# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which volumes of a pool belong to no VM any more: (known VMs, volumes) -> Plan. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .plan_types import Plan, Step


@dataclass(frozen=True, slots=True)
class PoolVolume:
    """A volume with the mark of a VM."""

    name: str
    vm_id: str
    watchers: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Orphan:
    """A volume whose VM is not known, and why it stays; "" where it goes to the trash."""

    volume: PoolVolume
    stays: str

    def view(self) -> dict[str, str]:
        """As results show it."""
        detail = f"belongs to VM {self.volume.vm_id}, which is nowhere"
        return {
            "kind": "orphaned_volume",
            "name": self.volume.name,
            "detail": f"{detail}; {self.stays}" if self.stays else detail,
            "action": "" if self.stays else "move to the trash",
        }


def orphans(
    known: Collection[str], volumes: Sequence[PoolVolume], now: datetime, grace: timedelta
) -> tuple[Orphan, ...]:
    """The volumes that belong to none of the known VMs, by name.

    Args:
        grace: a younger volume stays: its VM may be newer than what is known.
    """
    found = [volume for volume in volumes if volume.vm_id not in known]
    return tuple(Orphan(volume, _stays(volume, now, grace)) for volume in sorted(found, key=lambda one: one.name))


def _stays(volume: PoolVolume, now: datetime, grace: timedelta) -> str:
    if volume.watchers:
        return "it is in use"
    if now - volume.created_at < grace:
        return f"it is younger than {grace.total_seconds() / 3600:g} hours"
    return ""


def decide_orphans(found: Sequence[Orphan]) -> Plan:
    """Those that go, to the trash."""
    going = [orphan.volume.name for orphan in found if not orphan.stays]
    before = [orphan.volume.name for orphan in found]
    after = [name for name in before if name not in going]
    return Plan(tuple(Step("trash", name) for name in going), {"orphans": before}, {"orphans": after})
