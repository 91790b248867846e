# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Manifests, chains and retention."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.backup_manifest import Kept, Manifest, Part, streams
from ansible_collections.virtfleet.cloud.plugins.module_utils.backup_plan import (
    BackupWish,
    decide_removal,
    destination_problems,
    refuse_invalid_backup,
)
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict, Invalid
from hypothesis import given
from hypothesis import strategies as st

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
PART = Part("root", 4096, "root.rbd-diff", 10, "aa")


def manifest(number: int, parent: int | None = None, parts: tuple[Part, ...] = (PART,), vm_id: str = ID) -> Manifest:
    return Manifest(
        backup=f"b{number}",
        number=number,
        created_at="2026-11-24T08:15:00Z",
        kind="full" if parent is None else "incremental",
        parent=None if parent is None else f"b{parent}",
        reason="",
        guest="frozen",
        node="node-1",
        vm={"name": "a", "id": vm_id, "mac": "52:54:00:00:00:01", "request": {"ram": 256}},
        parts=parts,
    )


def kept(*manifests: Manifest) -> Kept:
    sizes = {found.backup: {part.file: part.bytes for part in found.parts} for found in manifests}
    return Kept(manifests, sizes=sizes)


def test_a_manifest_is_read_as_it_was_written() -> None:
    written = manifest(3, 2, (replace(PART, from_snapshot="x", to_snapshot="y", snapshot_id=7),))
    assert Manifest.from_bytes(written.to_bytes()) == written


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"backup": "../b"}, {"parts": [{}]}, {"parts": None}, {"vm": {}}, {"more": 1},
        {"parts": [{"disk": "root", "size_bytes": 1, "file": "../x", "bytes": 1, "sha256": ""}]},
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_said_to_be(change: dict[str, object]) -> None:
    data = json.loads(manifest(1).to_bytes()) | change
    with pytest.raises(ValueError, match="manifest"):
        Manifest.from_bytes(json.dumps(data).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null"])
def test_what_is_no_manifest_at_all_neither_is(content: bytes) -> None:
    with pytest.raises(ValueError, match="manifest cannot be read"):
        Manifest.from_bytes(content)


PARENTS = st.lists(st.integers(0, 12), min_size=1, max_size=12).map(
    lambda draws: [manifest(n, None if draw >= n else draw) for n, draw in enumerate(draws)]
)


@given(PARENTS, st.integers(1, 14))
def test_retention_keeps_the_newest_and_all_that_they_need(manifests: list[Manifest], keep: int) -> None:
    there = kept(*manifests)
    gone = there.beyond(manifests, keep)
    rest = kept(*(found for found in manifests if found not in gone))
    assert all(found in rest.manifests for found in manifests[-keep:])
    assert [rest.chain(found)[1] for found in rest.manifests] == [[]] * len(rest.manifests)
    # Whenever it is cut off, nothing is left without what it builds on.
    for end in range(len(gone)):
        left = kept(*(found for found in manifests if found not in gone[:end]))
        assert all(left.chain(found)[1] == [] for found in left.manifests)
    needed = {link.backup for found in manifests[-keep:] for link in there.chain(found)[0]}
    assert {found.backup for found in rest.manifests} == needed


def test_a_chain_says_what_it_lacks() -> None:
    first, second, third = manifest(1), manifest(2, 1), manifest(3, 2)
    assert kept(second, third).chain(third)[1] == ["backup b1, which b2 builds on, is not there"]
    assert kept(manifest(1, vm_id="other"), second).chain(second)[1] == ["backup b1, which b2 builds on, is not there"]
    there = replace(kept(first, second), sizes={"b1": {}, "b2": {PART.file: 9}})
    assert there.chain(second)[1] == ["b1/root.rbd-diff is not there", "b2/root.rbd-diff has 9 bytes, not 10"]


def test_a_chain_that_bites_its_tail_has_an_end() -> None:
    assert kept(manifest(1, 2), manifest(2, 1)).chain(manifest(2, 1))[1] != []


def test_a_volume_is_made_of_what_came_since_it_was_taken_in_full() -> None:
    on = replace(PART, from_snapshot="s")
    data = replace(PART, disk="data")
    chain = [manifest(1, parts=(PART, data)), manifest(2, 1, (on,)), manifest(3, 2, (on, data))]
    assert [link.backup for link, _part in streams(chain, "root")] == ["b1", "b2", "b3"]
    assert [link.backup for link, _part in streams(chain, "data")] == ["b3"]


def test_what_others_build_on_is_not_removed() -> None:
    wish = BackupWish("a", "", "node-1", "/srv", "b1", "absent")
    with pytest.raises(Conflict) as needed:
        decide_removal(wish, kept(manifest(1), manifest(2, 1), manifest(3, 2)))
    assert needed.value.problems == ("b2 builds on it", "b3 builds on it")
    assert decide_removal(replace(wish, backup="b9"), kept(manifest(1))).steps == ()


@pytest.mark.parametrize(
    ("to", "words"), [("srv", "neither"), ("pool:", "needs a name"), ("pool:mine", "lost with them"), ("", "neither")]
)
def test_places_that_are_none(to: str, words: str) -> None:
    assert words in destination_problems(to, "mine")[0]
    assert destination_problems("/srv", "mine") == destination_problems("pool:other", "mine") == []


def test_everything_that_is_wrong_with_a_request_is_said_at_once() -> None:
    wish = BackupWish("A_", "", "node-1", "srv", "B_", keep=0, full_every=0)
    with pytest.raises(Invalid) as refused:
        refuse_invalid_backup(wish, "mine")
    assert len(refused.value.problems) == 5
    with pytest.raises(Invalid, match="too long"):
        refuse_invalid_backup(replace(wish, name="a", to="/srv", backup="b" * 60, keep=1, full_every=1), "mine")
