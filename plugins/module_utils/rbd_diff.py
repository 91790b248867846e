# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream of `rbd export-diff`, version 1: what changed of an RBD image between two moments. Pure.

Ceph describes it in doc/dev/rbd-diff; an administrator can hand such a stream to `rbd import-diff`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import Conflict

BANNER = b"rbd diff v1\n"
# So much of an image is held in memory at once.
CHUNK = 4 * 1024 * 1024
_LONGEST_NAME = 4096
# Zeros that are shorter are written as they are.
_BLOCK = 64 * 1024
_ZEROS = bytes(_BLOCK)


@dataclass(frozen=True, slots=True)
class Header:
    """What a stream leads from and to. Without `from_snapshot` it is of the whole image."""

    from_snapshot: str | None
    to_snapshot: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the image, at most CHUNK large where it has data. Without data it is zero."""

    offset: int
    length: int
    data: bytes | None = None


def without_zeros(offset: int, content: bytes) -> Iterator[Piece]:
    """The content as pieces, with zeros as such where there are many: Ceph hands out whole objects of a clone."""
    begin, zero = 0, False
    for end in range(0, len(content), _BLOCK):
        block = content[end : end + _BLOCK]
        is_zero = block == _ZEROS or block.count(0) == len(block)
        if is_zero != zero and end > begin:
            yield _piece(offset, content, begin, end, zero)
            begin = end
        zero = is_zero
    if content:
        yield _piece(offset, content, begin, len(content), zero)


def _piece(offset: int, content: bytes, begin: int, end: int, zero: bool) -> Piece:
    return Piece(offset + begin, end - begin, None if zero else content[begin:end])


def damaged(what: str) -> Conflict:
    """The error of a stream that is none."""
    return Conflict(f"The stream is damaged: {what}", "Restore an older backup, and make a new full one.")


def write_stream(header: Header, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The stream in parts, the data of each piece by itself and as it was given."""
    yield BANNER
    for tag, name in ((b"f", header.from_snapshot), (b"t", header.to_snapshot)):
        if name is not None:
            text = name.encode()
            yield tag + struct.pack("<I", len(text)) + text
    yield b"s" + struct.pack("<Q", header.size_bytes)
    for piece in pieces:
        tag = b"z" if piece.data is None else b"w"
        yield tag + struct.pack("<QQ", piece.offset, piece.length)
        if piece.data is not None:
            yield piece.data
    yield b"e"


def read_stream(parts: Iterable[bytes]) -> tuple[Header, Iterator[Piece]]:
    """The header of a stream, and its pieces, which are read on demand.

    Args:
        parts: the stream, cut anywhere.

    Raises:
        Conflict: it is damaged or cut off; the iterator raises it too.
    """
    source = _Source(parts)
    if source.take(len(BANNER)) != BANNER:
        raise damaged("it does not begin like one of rbd export-diff")
    names: dict[bytes, str] = {}
    tag = source.take(1)
    while tag in (b"f", b"t"):
        names[tag] = _name(source)
        tag = source.take(1)
    if tag != b"s":
        raise damaged("it does not say how large the image is")
    size = source.number()
    return Header(names.get(b"f"), names.get(b"t"), size), _pieces(source, size)


def _name(source: _Source) -> str:
    (length,) = struct.unpack("<I", source.take(4))
    if length > _LONGEST_NAME:
        raise damaged(f"a snapshot's name of {length} bytes")
    try:
        return source.take(length).decode()
    except UnicodeDecodeError:
        raise damaged("a snapshot's name is no text") from None


def _pieces(source: _Source, size: int) -> Iterator[Piece]:
    while (tag := source.take(1)) != b"e":
        if tag not in (b"w", b"z"):
            raise damaged(f"there is no record {tag!r}")
        offset, length = source.number(), source.number()
        if offset + length > size:
            raise damaged(f"a record ends at {offset + length}, behind the end of the image at {size}")
        if tag == b"z":
            yield Piece(offset, length)
            continue
        for begin in range(offset, offset + length, CHUNK):
            count = min(CHUNK, offset + length - begin)
            yield Piece(begin, count, source.take(count))
    if source.left():
        raise damaged("there is something behind its end")


class _Source:
    """Bytes by their number, whatever parts they come in."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._part = memoryview(b"")

    def take(self, count: int) -> bytes:
        found: list[memoryview] = []
        while count:
            if not self._part and not self._more():
                raise damaged("it ends in the middle")
            found.append(self._part[:count])
            self._part = self._part[count:]
            count -= len(found[-1])
        return found[0].tobytes() if len(found) == 1 else b"".join(found)

    def number(self) -> int:
        return int(struct.unpack("<Q", self.take(8))[0])

    def left(self) -> bool:
        return bool(self._part) or self._more()

    def _more(self) -> bool:
        """Whether there was another part that holds anything."""
        for part in self._parts:
            if part:
                self._part = memoryview(part)
                return True
        return False
