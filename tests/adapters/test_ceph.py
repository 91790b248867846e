# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the adapter for Ceph promises."""

from __future__ import annotations

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict, VirtfleetError

from .conftest import SECTOR, Pool

MIB = 1024 * 1024


def clone(pool: Pool) -> int:
    """Clone the golden image into the pool's volume; the image's size."""
    image = pool.adapter.image(pool.image)
    assert image is not None
    pool.adapter.clone(pool.image, image.snapshot, pool.volume)
    return int(image.size_bytes)


def test_what_is_not_there_is_none(pool: Pool) -> None:
    assert pool.adapter.volume(pool.volume) is None
    assert pool.adapter.image(f"{pool.prefix}-no-image") is None
    assert pool.adapter.owner(pool.vm_id) is None


def test_monitors_have_addresses_and_ports(pool: Pool) -> None:
    monitors = pool.adapter.monitors()
    assert monitors and all(host and port > 0 for host, port in monitors)


def test_a_clone_is_as_large_as_its_image_and_unmarked(pool: Pool) -> None:
    size = clone(pool)
    volume = pool.adapter.volume(pool.volume)
    assert (volume.size_bytes, volume.parent, volume.vm_id, volume.watchers) == (size, f"{pool.image}@golden", None, 0)


def test_a_second_clone_under_the_name_is_refused(pool: Pool) -> None:
    clone(pool)
    with pytest.raises(VirtfleetError):
        clone(pool)


def test_a_clone_of_nothing_is_refused(pool: Pool) -> None:
    with pytest.raises(VirtfleetError):
        pool.adapter.clone(f"{pool.prefix}-no-image", "golden", pool.volume)
    assert pool.adapter.volume(pool.volume) is None


def test_a_volume_grows_and_never_shrinks(pool: Pool) -> None:
    size = clone(pool)
    pool.adapter.grow(pool.volume, size + 4 * MIB)
    with pytest.raises(VirtfleetError):
        pool.adapter.grow(pool.volume, size)
    assert pool.adapter.volume(pool.volume).size_bytes == size + 4 * MIB


def test_a_marked_volume_names_its_vm(pool: Pool) -> None:
    clone(pool)
    pool.adapter.mark(pool.volume, pool.vm_id, "digest")
    assert pool.adapter.volume(pool.volume).vm_id == pool.vm_id


def test_a_record_is_kept_with_the_marks_or_by_itself_and_stays(pool: Pool) -> None:
    clone(pool)
    assert pool.adapter.volume(pool.volume).record is None
    pool.adapter.mark(pool.volume, pool.vm_id, "digest", "first")
    assert pool.adapter.volume(pool.volume).record == "first"
    pool.adapter.keep_record(pool.volume, "second")
    pool.adapter.mark(pool.volume, pool.vm_id, "other digest")
    volume = pool.adapter.volume(pool.volume)
    assert (volume.record, volume.vm_id) == ("second", pool.vm_id)


def test_a_seed_is_written_anew_with_its_size_and_digest(pool: Pool) -> None:
    for content, digest in ((b"a" * 4 * SECTOR, "first"), (b"b" * SECTOR, "second")):
        pool.adapter.write_seed(f"{pool.prefix}.seed", content, pool.vm_id, digest)
        seed = pool.adapter.volume(f"{pool.prefix}.seed")
        assert (seed.size_bytes, seed.seed_sha256, seed.vm_id) == (len(content), digest, pool.vm_id)


def test_trash_and_remove_take_the_volume_away(pool: Pool) -> None:
    clone(pool)
    pool.adapter.trash(pool.volume, 0)
    assert pool.adapter.volume(pool.volume) is None
    clone(pool)
    pool.adapter.remove(pool.volume)
    assert pool.adapter.volume(pool.volume) is None


@pytest.mark.parametrize("action", ["mark", "keep_record", "grow", "trash", "remove"])
def test_acting_on_a_volume_that_is_not_there_is_an_error(pool: Pool, action: str) -> None:
    arguments = {
        "mark": (pool.vm_id, "digest"), "keep_record": ("record",), "grow": (MIB,), "trash": (0,), "remove": (),
    }[action]  # fmt: skip
    with pytest.raises(VirtfleetError):
        getattr(pool.adapter, action)(pool.volume, *arguments)


def test_one_owner_at_a_time(pool: Pool) -> None:
    pool.adapter.take_ownership(pool.vm_id, "node-1")
    with pytest.raises(Conflict):
        pool.adapter.take_ownership(pool.vm_id, "node-2")
    assert pool.adapter.owner(pool.vm_id) == "node-1"
    for _twice in range(2):
        pool.adapter.release_ownership(pool.vm_id)
        assert pool.adapter.owner(pool.vm_id) is None
    pool.adapter.take_ownership(pool.vm_id, "node-2")
    assert pool.adapter.owner(pool.vm_id) == "node-2"
