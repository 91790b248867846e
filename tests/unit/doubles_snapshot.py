# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""In-memory snapshots, and guests that can be frozen, with the interface of the adapters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Backend, Unreachable, VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.snapshot_plan import RbdSnapshot, Record, Volume
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph, FakeHypervisor, World


@dataclass
class SnapshotWorld(World):
    """A world with snapshots; `content` is what a volume holds now, `then` what it held at a snapshot."""

    content: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, dict[str, RbdSnapshot]] = field(default_factory=dict)
    then: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    made: int = 0
    agent_answers: bool = True
    agent_thaws: bool = True
    frozen: bool = False
    ceph_fails_at: str | None = None
    hangs: bool = False

    def watchers(self, volume: str) -> int:
        """Clients that have a volume open: the QEMU of its VM while it runs and does not hang, and others."""
        domain = self.domains.get(volume.partition(".")[0])
        on = domain is not None and domain.state != "stopped" and not self.hangs
        return self.volumes[volume].watchers + on

    def write(self) -> None:
        """What a guest does that is running and not frozen: it writes to all its volumes."""
        for name, domain in self.domains.items():
            if domain.state == "running" and not self.frozen:
                for volume in self.volumes:
                    if volume.startswith(f"{name}."):
                        self.content[volume] = f"{self.content.get(volume, '')}+"


class FakeStore:
    """SnapshotStore over a SnapshotWorld."""

    def __init__(self, ceph: FakeCeph) -> None:
        assert isinstance(ceph.world, SnapshotWorld)
        self.world = ceph.world

    def volumes(self, vm: str, vm_id: str, clones: bool) -> tuple[tuple[Volume, ...], dict[str, Record]]:
        names = [name for name in sorted(self.world.volumes) if name.startswith(f"{vm}.") and name != f"{vm}.seed"]
        return self.read(names, clones, vm_id)

    def read(
        self, names: Iterable[str], clones: bool, vm_id: str | None = None
    ) -> tuple[tuple[Volume, ...], dict[str, Record]]:
        found = []
        for name in names:
            facts = self.world.volumes[name]
            if vm_id in (None, facts.vm_id):
                snapshots = {
                    snapshot: part if clones else replace(part, clones=())
                    for snapshot, part in self.world.snapshots.get(name, {}).items()
                }
                found.append(Volume(name, facts.size_bytes, self.world.watchers(name), snapshots))
        return tuple(found), dict(self.world.records)

    def with_usage(self, volume: Volume) -> Volume:
        return volume

    def create(self, volumes: Sequence[str], snapshot: str) -> None:
        for volume in volumes:
            self._create(volume, snapshot)

    def _create(self, volume: str, snapshot: str) -> None:
        if volume == self.world.ceph_fails_at:
            raise Unreachable("Ceph did not answer")
        self.world.mutate(f"create {volume}")
        self.world.made += 1
        part = RbdSnapshot(self.world.made, self.world.volumes[volume].size_bytes, "2026-11-24T08:15:00Z")
        if snapshot in self.world.snapshots.setdefault(volume, {}):
            raise Backend("exists")
        self.world.snapshots[volume][snapshot] = part
        self.world.then[f"{volume}@{snapshot}"] = self.world.content.get(volume, "")
        self.world.write()

    def remove(self, volume: str, snapshot: str) -> None:
        self.world.mutate(f"remove {volume}")
        self.world.snapshots.get(volume, {}).pop(snapshot, None)

    def write_record(self, root: str, snapshot: str, record: Record) -> None:
        self.world.mutate(f"record {'done' if record.done else record.hold}")
        self.world.records[snapshot] = record

    def forget_record(self, root: str, snapshot: str) -> None:
        self.world.mutate("forget")
        self.world.records.pop(snapshot, None)

    def roll_back(self, volume: str, snapshot: str, size_bytes: int) -> None:
        if self.world.watchers(volume):
            raise Backend("open")
        self.world.mutate(f"roll_back {volume}")
        self.world.content[volume] = self.world.then[f"{volume}@{snapshot}"]
        self.world.volumes[volume] = replace(self.world.volumes[volume], size_bytes=size_bytes)

    def same(self, volume: str, snapshot: str) -> bool:
        return self.world.content.get(volume, "") == self.world.then[f"{volume}@{snapshot}"]


class FakeFreezer(FakeHypervisor):
    """FreezingHypervisor over a SnapshotWorld."""

    world: SnapshotWorld

    def __enter__(self) -> FakeFreezer:
        return self

    def freeze(self, name: str) -> bool:
        self.world.mutate("freeze")
        self.world.frozen = self.world.agent_answers
        return self.world.frozen

    def unpause(self, name: str) -> None:
        self.resume(name)

    def thaw(self, name: str) -> None:
        self.world.mutate("thaw")
        if not self.world.agent_thaws:
            raise VirtfleetError("timeout", "not thawed", "thaw it")
        self.world.frozen = False
