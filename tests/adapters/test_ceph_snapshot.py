# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the adapter for snapshots promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import ceph_snapshot
from ansible_collections.virtfleet.cloud.plugins.module_utils.snapshot_plan import Record
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import FakeStore

from .conftest import Pool

MIB = 1024 * 1024


@pytest.fixture
def store(pool: Pool, ceph_kind: str) -> Iterator[Any]:
    """The snapshots of a pool with one marked volume and its seed; they go away at the end."""
    store = FakeStore(pool.adapter) if ceph_kind == "double" else ceph_snapshot.SnapshotStore(pool.adapter)
    image = pool.adapter.image(pool.image)
    pool.adapter.clone(pool.image, image.snapshot, pool.volume)
    pool.adapter.mark(pool.volume, pool.vm_id, "digest")
    pool.adapter.write_seed(f"{pool.prefix}.seed", bytes(512), pool.vm_id, "digest")
    yield store
    for volume in store.read([pool.volume], clones=False)[0]:
        for snapshot in volume.snapshots:
            store.remove(pool.volume, snapshot)


def write(pool: Pool, text: str) -> None:
    if hasattr(pool.adapter, "world"):
        pool.adapter.world.content[pool.volume] = text
        return
    import rbd

    with rbd.Image(pool.adapter.ioctx, pool.volume) as image:
        image.write(text.encode(), 5 * MIB)


def test_a_vm_has_its_volumes_without_seed_and_without_those_of_others(pool: Pool, store: Any) -> None:
    volumes, records = store.volumes(pool.prefix, pool.vm_id, clones=True)
    assert [(volume.name, volume.snapshots) for volume in volumes] == [(pool.volume, {})] and records == {}
    assert store.volumes(pool.prefix, "somebody else", clones=True) == ((), {})
    assert store.volumes(pool.prefix[:-1], pool.vm_id, clones=True) == ((), {})


def test_snapshots_are_read_in_their_order_and_gone_when_removed(pool: Pool, store: Any) -> None:
    for name in ("one", "two"):
        store.create([pool.volume], name)
    (volume,), _records = store.volumes(pool.prefix, pool.vm_id, clones=True)
    one, two = volume.snapshots["one"], volume.snapshots["two"]
    assert one.id < two.id and one.size_bytes == volume.size_bytes
    assert one.created_at.startswith("20") and one.created_at.endswith("Z")
    assert (one.protected, one.clones) == (False, ())
    for _twice in range(2):
        store.remove(pool.volume, "one")
        assert set(store.read([pool.volume], clones=True)[0][0].snapshots) == {"two"}


def test_records_are_kept_with_the_volume(pool: Pool, store: Any) -> None:
    record = Record((pool.volume, "a.data"), "frozen", done=True)
    for written in (Record((pool.volume,), "running", hold="freeze"), record):
        store.write_record(pool.volume, "one", written)
        assert store.volumes(pool.prefix, pool.vm_id, clones=False)[1] == {"one": written}
    for _twice in range(2):
        store.forget_record(pool.volume, "one")
        assert store.read([pool.volume], clones=False)[1] == {}


def test_a_rollback_brings_the_content_back_and_keeps_the_size(pool: Pool, store: Any) -> None:
    write(pool, "old")
    store.create([pool.volume], "one")
    assert store.same(pool.volume, "one")
    write(pool, "new")
    assert not store.same(pool.volume, "one")
    size = pool.adapter.volume(pool.volume).size_bytes + 4 * MIB
    pool.adapter.grow(pool.volume, size)
    store.roll_back(pool.volume, "one", size)
    assert store.same(pool.volume, "one")
    assert pool.adapter.volume(pool.volume).size_bytes == size
    assert store.read([pool.volume], clones=False)[0][0].size_bytes == size
