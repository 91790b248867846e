# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Volumes as differences, in memory, with the interface of the adapter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.module_utils.rbd_diff import Header, Piece
from ansible_collections.virtfleet.cloud.plugins.module_utils.restore_plan import SeenVolume
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import SnapshotWorld

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
NEW = "1a0f4c0e-3e5a-4f51-8f0a-5d1f7c2b9d22"
REQUEST = {"ram": 1024, "image": "img"}
VM = {"name": "a", "id": ID, "node": "node-1", "mac": "52:54:00:00:00:01", "request": REQUEST}


@dataclass
class BackupWorld(SnapshotWorld):
    """A world whose volumes can be restored; `restored` says from what, `full` that its pool takes no more."""

    restored: dict[str, str] = field(default_factory=dict)
    full: bool = False


class FakeVolumeDiffs:
    """VolumeDiffs over a BackupWorld. Its content is at the beginning of a volume, and a difference is all of it."""

    def __init__(self, ceph: FakeCeph) -> None:
        assert isinstance(ceph.world, BackupWorld)
        self.world = ceph.world

    @contextmanager
    def changes(
        self, volume: str, base: str | None, snapshot: str | None
    ) -> Iterator[tuple[int, int, Iterator[Piece]]]:
        self.world.mutate(f"read {volume}")
        now = self.world.then[f"{volume}@{snapshot}"] if snapshot else self.world.content.get(volume, "")
        before = self.world.then[f"{volume}@{base}"] if base else ""
        data = b"" if now == before else now.encode()
        size = self.world.volumes[volume].size_bytes
        yield size, len(data), iter([Piece(0, len(data), data)] if data else [])

    def seen(self, volume: str) -> SeenVolume | None:
        facts = self.world.volumes.get(volume)
        return None if facts is None else SeenVolume(facts, self.world.restored.get(volume))

    def snapshot_id(self, volume: str, snapshot: str) -> int:
        return self.world.snapshots[volume][snapshot].id

    @contextmanager
    def new(self, volume: str, vm_id: str, source: str, seed_sha256: str | None) -> Iterator[FakeRestoredVolume]:
        self.world.mutate(f"make {volume}")
        if self.world.full:
            raise VirtfleetError("no_capacity", "Pool libvirt-pool is full", "Make room.")
        made = FakeRestoredVolume()
        yield made
        self.world.mutate(f"name {volume}")
        self.world.volumes[volume] = VolumeFacts(made.size, None, vm_id, seed_sha256, 0)
        self.world.content[volume] = made.content
        self.world.restored[volume] = source


class FakeRestoredVolume:
    """RestoredVolume in memory."""

    def __init__(self) -> None:
        self.size = 0
        self.content = ""

    def apply(self, header: Header, pieces: Iterable[Piece]) -> None:
        self.size = header.size_bytes
        for piece in pieces:
            self.content = (piece.data or b"").decode()


def grown(world: BackupWorld, volume: str, size_bytes: int) -> None:
    """Give a volume another size."""
    world.volumes[volume] = replace(world.volumes[volume], size_bytes=size_bytes)


def states(result: dict[str, Any]) -> dict[str, str]:
    return {found["name"]: found.get("kind") or found["state"] for found in result["backups"]}


def bases(world: BackupWorld) -> list[str]:
    return sorted(name.rpartition("-")[0] for name in world.snapshots.get("a.root", {}))


def gone(world: BackupWorld) -> None:
    """The VM is deleted for good."""
    for name in [name for name in world.volumes if name.startswith("a.")]:
        del world.volumes[name]
    world.snapshots.clear()
    world.records.clear()
    world.content.clear()
    world.domains.clear()
    world.owners.clear()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return [one[key] for key in ("actions", "diff")] == [other[key] for key in ("actions", "diff")]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
