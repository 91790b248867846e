# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: what changed of a volume between two snapshots, and volumes made from that."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .ceph import Ceph, as_our_errors, marks
from .ceph_image import finish
from .errors import VirtfleetError
from .rbd_diff import CHUNK, Header, Piece, without_zeros
from .restore_plan import SeenVolume

try:
    import rbd
except ImportError:
    HAS_RBD = False
else:
    HAS_RBD = True

_RESTORED = "virtfleet.restored_from"
# So many reads or writes at once, each with a chunk in memory.
_AT_ONCE = 8
# Ceph takes a client for dead after 30 seconds without a sign of life.
_DEAD_AFTER_SECONDS = 40


class VolumeDiffs:
    """Reads volumes of a pool as differences, and makes volumes from these."""

    def __init__(self, ceph: Ceph) -> None:
        self._ceph = ceph
        self._ioctx = ceph.ioctx
        self._rbd: Any = rbd.RBD()

    @contextmanager
    def changes(
        self, volume: str, base: str | None, snapshot: str | None
    ) -> Iterator[tuple[int, int, Iterator[Piece]]]:
        """What a volume has at a snapshot (or now) that it had not at the base (or that is not zero).

        Returns:
            Its size, the bytes that changed, and the pieces, which are read on demand.
        """
        doing = f"reading volume {volume}"
        with as_our_errors(doing), rbd.Image(self._ioctx, volume, snapshot=snapshot, read_only=True) as image:
            size, extents = image.size(), _extents(image, base)
            yield size, sum(length for _offset, length, _exists in extents), _pieces(image, extents)

    def seen(self, volume: str) -> SeenVolume | None:
        """A volume that is there, and what it was restored from."""
        facts = self._ceph.volume(volume)
        if facts is None:
            return None
        with as_our_errors(f"reading volume {volume}"), rbd.Image(self._ioctx, volume, read_only=True) as image:
            return SeenVolume(facts, dict(image.metadata_list()).get(_RESTORED))

    def snapshot_id(self, volume: str, snapshot: str) -> int:
        """The id of a snapshot."""
        with as_our_errors(f"reading volume {volume}"), rbd.Image(self._ioctx, volume, read_only=True) as image:
            return int(next(entry["id"] for entry in image.list_snaps() if entry["name"] == snapshot))

    @contextmanager
    def new(self, volume: str, vm_id: str, source: str, seed_sha256: str | None) -> Iterator[RestoredVolume]:
        """An empty volume of a VM to be filled; it is marked, and gets its name, at the end.

        Until then it has another name, so that a run that is cut off leaves no half volume under the real one; what
        that one left is thrown away. A body that raises leaves nothing.

        Args:
            source: the backup that it is made from.
            seed_sha256: the digest of the documents, where it is a seed.
        """
        making = f"{vm_id}.{volume}.restoring"
        with as_our_errors(f"making volume {volume}"):
            remove_image(self._ioctx, making)
            self._rbd.create(self._ioctx, making, 0)
            try:
                with rbd.Image(self._ioctx, making) as image:
                    yield RestoredVolume(image, volume)
                    image.flush()
                    for key, value in ({_RESTORED: source} | marks(vm_id, seed_sha256)).items():
                        image.metadata_set(key, value)
                self._rbd.rename(self._ioctx, making, volume)
            except BaseException:
                with as_our_errors(f"removing {making}"):
                    remove_image(self._ioctx, making)
                raise


class RestoredVolume:
    """A volume while it is being filled."""

    def __init__(self, image: Any, name: str) -> None:
        self._image = image
        self._name = name

    def apply(self, header: Header, pieces: Iterable[Piece]) -> None:
        """Bring it from the state that a stream builds on to that which it leads to."""
        writes: deque[tuple[Any, Piece]] = deque()  # with what they write, which has to stay until they are done
        with as_our_errors(f"writing volume {self._name}"):
            self._image.resize(header.size_bytes, allow_shrink=True)
            for piece in pieces:
                if piece.data is not None:
                    write = self._image.aio_write(piece.data, piece.offset, lambda _completion: None)
                elif header.from_snapshot is not None:
                    # Not a discard, which librbd leaves undone where it is small.
                    write = self._image.aio_write_zeroes(piece.offset, piece.length, lambda _completion: None)
                else:
                    continue  # a new volume is zero already
                writes.append((write, piece))
                if len(writes) == _AT_ONCE:
                    finish(writes.popleft()[0])
            while writes:
                finish(writes.popleft()[0])


def remove_image(ioctx: Any, name: str) -> None:
    """Remove an image that a run left; that of a run that was killed is open for Ceph a little longer.

    Raises:
        VirtfleetError: busy.
    """
    deadline = time.monotonic() + _DEAD_AFTER_SECONDS
    while True:
        try:
            rbd.RBD().remove(ioctx, name)
            return
        except rbd.ImageNotFound:
            return
        except rbd.ImageBusy:
            if time.monotonic() > deadline:
                raise VirtfleetError(
                    "busy", f"Image {name} is being written by somebody else", "Wait and run again."
                ) from None
            time.sleep(1)


def _extents(image: Any, base: str | None) -> list[tuple[int, int, bool]]:
    """Offset, length, and whether there is data, of all that changed."""
    found: list[tuple[int, int, bool]] = []
    image.diff_iterate(
        0,
        image.size(),
        base,
        lambda offset, length, exists: found.append((offset, length, bool(exists))),
        include_parent=True,
        whole_object=False,
    )
    return found


def _pieces(image: Any, extents: Iterable[tuple[int, int, bool]]) -> Iterator[Piece]:
    """The pieces in their order, read a few ahead."""
    reads: deque[tuple[int, int, Any, list[bytes]]] = deque()
    for offset, length, exists in extents:
        if not exists:
            while reads:
                yield from _finished(*reads.popleft())
            yield Piece(offset, length)
            continue
        for begin in range(offset, offset + length, CHUNK):
            count = min(CHUNK, offset + length - begin)
            data: list[bytes] = []
            read = image.aio_read(begin, count, lambda _completion, part, data=data: data.append(part))
            reads.append((begin, count, read, data))
            if len(reads) == _AT_ONCE:
                yield from _finished(*reads.popleft())
    while reads:
        yield from _finished(*reads.popleft())


def _finished(offset: int, length: int, read: Any, data: list[bytes]) -> Iterator[Piece]:
    finish(read)
    if len(data[0]) != length:
        raise rbd.OSError("a read was cut short", errno=errno.EIO)
    return without_zeros(offset, data[0])
