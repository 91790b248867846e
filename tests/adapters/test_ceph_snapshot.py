# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the adapter for snapshots promises."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import ceph_snapshot
from ansible_collections.virtfleet.cloud.plugins.module_utils.ceph import Marks
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


def test_a_clone_of_a_volume_is_marked_as_its_own_whatever_was_left_of_it(pool: Pool, store: Any) -> None:
    for name in ("one", "two"):
        store.create([pool.volume], name)
        store.write_record(pool.volume, name, Record((pool.volume,), done=True))
    vm_id = str(uuid.uuid4())
    clone, making = f"{pool.prefix}-clone.root", f"{vm_id}.{pool.prefix}-clone.root.making"
    marks, size = Marks(vm_id, "digest"), 16 * MIB
    if not hasattr(pool.adapter, "world"):
        import rbd

        # That of a run that was cut off, of another snapshot: with the mark of the source still.
        rbd.RBD().clone(pool.adapter.ioctx, pool.volume, "one", pool.adapter.ioctx, making, clone_format=2)
        assert pool.adapter.unnamed(vm_id) == (making,)
    pool.adapter.clone_volume(pool.volume, "two", clone, size, marks)
    try:
        facts = pool.adapter.volume(clone)
        assert (facts.size_bytes, facts.parent, facts.vm_id) == (size, f"{pool.volume}@two", vm_id)
        assert pool.adapter.unnamed(vm_id) == () and store.volumes(f"{pool.prefix}-clone", pool.vm_id, True)[0] == ()
        if not hasattr(pool.adapter, "world"):
            assert store.read([clone], clones=True)[1] == {}
            (volume,), _records = store.read([pool.volume], clones=True)
            assert [name for name, part in volume.snapshots.items() if part.clones] == ["two"]
    finally:
        pool.adapter.remove(clone)
