# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The stream of rbd export-diff: what is written is read again, however it is cut; damage is found."""

from __future__ import annotations

import itertools
import struct

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict
from ansible_collections.virtfleet.cloud.plugins.module_utils.rbd_diff import (
    CHUNK,
    Header,
    Piece,
    read_stream,
    without_zeros,
    write_stream,
)
from hypothesis import given
from hypothesis import strategies as st

SIZE = 1 << 40
NAMES = st.none() | st.text(st.characters(codec="utf-8"), max_size=40)
HEADERS = st.builds(Header, NAMES, NAMES, st.just(SIZE))
OFFSETS = st.integers(0, SIZE // 2)
PIECES = st.lists(
    st.builds(Piece, OFFSETS, st.integers(0, SIZE // 2))
    | st.builds(
        lambda offset, data: Piece(offset, len(data), data), OFFSETS, st.binary(min_size=1, max_size=64)
    )
)  # fmt: skip


def cut(content: bytes, lengths: list[int]) -> list[bytes]:
    parts = []
    for length in lengths:
        parts.append(content[:length])
        content = content[length:]
    return [*parts, content]


@given(HEADERS, PIECES, st.lists(st.integers(0, 30), max_size=30))
def test_what_is_written_is_read_again_however_it_is_cut(
    header: Header, pieces: list[Piece], lengths: list[int]
) -> None:
    content = b"".join(write_stream(header, pieces))
    found, rest = read_stream(cut(content, lengths))
    assert found == header and list(rest) == pieces


@given(HEADERS, PIECES, st.data())
def test_every_stream_that_ends_early_is_found_out(header: Header, pieces: list[Piece], data: st.DataObject) -> None:
    content = b"".join(write_stream(header, pieces))
    end = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(Conflict, match=r"it ends in the middle|does not begin"):
        list(read_stream([content[:end]])[1])


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_stream_or_damaged(content: bytes) -> None:
    try:
        list(read_stream([b"rbd diff v1\n" + content])[1])
    except Conflict as error:
        assert error.message.startswith("The stream is damaged") and error.hint


def test_the_bytes_are_those_of_ceph() -> None:
    header, pieces = Header("a", "bc", 4096), [Piece(512, 2, b"xy"), Piece(0, 512)]
    assert b"".join(write_stream(header, pieces)) == (
        b"rbd diff v1\n" b"f\x01\0\0\0a" b"t\x02\0\0\0bc" b"s\0\x10\0\0\0\0\0\0"
        b"w\0\x02\0\0\0\0\0\0\x02\0\0\0\0\0\0\0xy" b"z" + bytes(8) + b"\0\x02\0\0\0\0\0\0" b"e"
    )  # fmt: skip


BEGIN = b"rbd diff v1\n" + b"s" + struct.pack("<Q", 4096)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"rbd diff v2\n" + b"e", "does not begin"),
        (b"rbd diff v1\nw", "how large"),
        (b"rbd diff v1\nf\xff\xff\xff\xff", "name of 4294967295 bytes"),
        (b"rbd diff v1\nf\x01\0\0\0\xff", "no text"),
        (BEGIN + b"w" + struct.pack("<QQ", 4000, 97), "behind the end"),
        (BEGIN + b"q", "no record b'q'"),
        (BEGIN + b"ee", "behind its end"),
    ],
)
def test_what_is_damaged_is_named(content: bytes, words: str) -> None:
    with pytest.raises(Conflict, match=words):
        list(read_stream([content])[1])


def test_large_records_of_others_are_read_in_chunks() -> None:
    data = bytes(range(256)) * (CHUNK // 256) + b"end"
    content = b"".join(write_stream(Header(None, None, SIZE), [Piece(7, len(data), data)]))
    pieces = list(read_stream([content])[1])
    assert [(piece.offset, piece.length) for piece in pieces] == [(7, CHUNK), (7 + CHUNK, 3)]
    assert b"".join(piece.data or b"" for piece in pieces) == data


BLOCK = 64 * 1024
RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 3 * BLOCK)), max_size=6)


@given(st.integers(0, SIZE), RUNS)
def test_zeros_are_left_out_and_everything_else_is_there(offset: int, runs: list[tuple[bool, int]]) -> None:
    content = b"".join((b"\0" if zero else b"x") * length for zero, length in runs)
    pieces = list(without_zeros(offset, content))
    assert b"".join(bytes(piece.length) if piece.data is None else piece.data for piece in pieces) == content
    ends = [offset, *(piece.offset + piece.length for piece in pieces)]
    assert [piece.offset for piece in pieces] == ends[:-1]
    # No two of a kind stand beside each other, and none with data is all zeros.
    kinds = [piece.data is None for piece in pieces]
    assert all(one != other for one, other in itertools.pairwise(kinds))
    assert all(piece.data is None or piece.data.strip(b"\0") for piece in pieces)
