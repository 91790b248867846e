# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the adapter for differences of volumes promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import ceph_diff, ceph_snapshot
from ansible_collections.virtfleet.cloud.plugins.module_utils.rbd_diff import Header, read_stream, write_stream
from ansible_collections.virtfleet.cloud.tests.unit.doubles_backup import FakeVolumeDiffs
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import FakeStore

from .conftest import Pool


@pytest.fixture
def diffs(pool: Pool, ceph_kind: str) -> Iterator[Any]:
    """The differences of a pool with one marked volume; it has no snapshots at the end."""
    real = ceph_kind != "double"
    store: Any = ceph_snapshot.SnapshotStore(pool.adapter) if real else FakeStore(pool.adapter)
    image = pool.adapter.image(pool.image)
    pool.adapter.clone(pool.image, image.snapshot, pool.volume)
    pool.adapter.mark(pool.volume, pool.vm_id, "digest")
    yield (ceph_diff.VolumeDiffs(pool.adapter) if real else FakeVolumeDiffs(pool.adapter)), store
    for volume in store.read([pool.volume], clones=False)[0]:
        for snapshot in volume.snapshots:
            store.remove(pool.volume, snapshot)
    if pool.adapter.volume(f"{pool.prefix}.copy") is not None:
        pool.adapter.remove(f"{pool.prefix}.copy")


def write(pool: Pool, text: str) -> None:
    if hasattr(pool.adapter, "world"):
        pool.adapter.world.content[pool.volume] = text
        return
    import rbd

    with rbd.Image(pool.adapter.ioctx, pool.volume) as image:
        image.write(text.encode(), 0)


def content(pool: Pool, volume: str) -> bytes:
    if hasattr(pool.adapter, "world"):
        return str(pool.adapter.world.content[volume]).encode()[:3]
    import rbd

    with rbd.Image(pool.adapter.ioctx, volume, read_only=True) as image:
        return bytes(image.read(0, 3))


def stream(diffs: Any, pool: Pool, base: str | None, snapshot: str) -> list[bytes]:
    with diffs.changes(pool.volume, base, snapshot) as (size, _changed, pieces):
        return list(write_stream(Header(base, snapshot, size), pieces))


def test_a_volume_is_made_of_what_it_was_and_what_changed(pool: Pool, diffs: Any) -> None:
    reader, store = diffs
    # Zeros have to be written too, however few they are.
    for name, text in (("one", "one"), ("two", "\0\0\0"), ("three", "end")):
        write(pool, text)
        store.create([pool.volume], name)
    full = stream(reader, pool, None, "one")
    later, last = stream(reader, pool, "one", "two"), stream(reader, pool, "two", "three")
    copy = f"{pool.prefix}.copy"
    for links, wanted in (([full], b"one"), ([full, later], bytes(3)), ([full, later, last], b"end")):
        with reader.new(copy, pool.vm_id, "a/backup", None) as volume:
            for link in links:
                volume.apply(*read_stream(link))
        assert content(pool, copy) == wanted
        seen = reader.seen(copy)
        assert (seen.restored_from, seen.facts.vm_id) == ("a/backup", pool.vm_id)
        assert (seen.facts.size_bytes, seen.facts.parent) == (pool.adapter.volume(pool.volume).size_bytes, None)
        pool.adapter.remove(copy)


def test_a_volume_that_fails_on_the_way_has_no_name(pool: Pool, diffs: Any) -> None:
    reader, _store = diffs
    copy = f"{pool.prefix}.copy"
    with pytest.raises(RuntimeError), reader.new(copy, pool.vm_id, "a/backup", "digest"):
        raise RuntimeError
    assert reader.seen(copy) is None


def test_a_snapshot_has_an_id_of_its_own(pool: Pool, diffs: Any) -> None:
    reader, store = diffs
    found = []
    for _twice in range(2):
        store.create([pool.volume], "one")
        found.append(reader.snapshot_id(pool.volume, "one"))
        store.remove(pool.volume, "one")
    assert found[0] < found[1]
