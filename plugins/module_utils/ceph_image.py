# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: the golden images of a pool, and what hangs on them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from .ceph import GOLDEN_SNAPSHOT, Ceph, as_our_errors, vm_mark
from .errors import VirtfleetError
from .image_names import split, versions
from .image_plan import Descendant, StoredImage

try:
    import rbd
except ImportError:
    HAS_RBD = False
else:
    HAS_RBD = True

_PARTIAL = ".importing"
_CHECKSUM = "virtfleet.source_"
_VOLUMES = (".root", ".seed", _PARTIAL)
_NOT_IMPORTED = "nothing was imported"
_GROWTH = 1024**3
# So many writes at once, each with a chunk in memory.
_WRITES = 8
# Ceph takes a client for dead after 30 seconds without a sign of life.
_DEAD_AFTER_SECONDS = 40


class ImageStore:
    """The golden images of a pool."""

    def __init__(self, ceph: Ceph) -> None:
        self._ceph = ceph
        self._ioctx = ceph.ioctx
        self._rbd: Any = rbd.RBD()

    def versions(self, name: str) -> dict[str, StoredImage]:
        """All images of this name, whatever their version, by full name; the lowest version first."""
        return self._read(versions(self._names(), split(name)[0]))

    def images(self) -> dict[str, StoredImage]:
        """All images. Everything is looked at but what is certainly the volume of a VM."""
        return self._read(sorted(name for name in self._names() if not name.endswith(_VOLUMES)))

    def importing(self) -> list[str]:
        """The images that are being imported, or were when a run was cut off."""
        return sorted(name.removesuffix(_PARTIAL) for name in self._names() if name.endswith(_PARTIAL))

    def trashed(self) -> list[tuple[str, str, StoredImage]]:
        """Id, name and facts of the images in the trash."""
        with as_our_errors("listing the trash"):
            entries = [(entry["id"], entry["name"]) for entry in self._rbd.trash_list(self._ioctx)]
        candidates = sorted((name, image_id) for image_id, name in entries if not name.endswith(_VOLUMES))
        found = [(image_id, name, self._stored(name, image_id)) for name, image_id in candidates]
        return [(image_id, name, image) for image_id, name, image in found if image is not None]

    def descendants(self, name: str, image_id: str | None = None) -> tuple[Descendant, ...]:
        """Every volume that hangs on the image, also over others, and also those in the trash.

        Args:
            image_id: needed for an image that is in the trash itself.
        """
        with as_our_errors(f"reading what hangs on image {name}"), self._opened(name, image_id) as image:
            return tuple(self._below(image, 1))

    @contextmanager
    def new(self, name: str) -> Iterator[NewImage]:
        """An empty image to be filled; at the end it is pinned by its snapshot and gets its name.

        Until then it has another name, so that a run that is cut off leaves no half image under the real one. A body
        that raises leaves nothing.

        Raises:
            VirtfleetError: busy, while somebody else imports it; no_capacity, when the pool is full.
        """
        partial = name + _PARTIAL
        self._ceph.refuse_full(_NOT_IMPORTED)
        with as_our_errors(f"importing image {name}"):
            self._remove_partial(partial)
            self._rbd.create(self._ioctx, partial, 0)
        try:
            # Held open all the time, so that nobody else takes it for one that was left behind.
            with as_our_errors(f"importing image {name}"), rbd.Image(self._ioctx, partial) as image:
                yield NewImage(image, partial)
                image.create_snap(GOLDEN_SNAPSHOT)
                image.protect_snap(GOLDEN_SNAPSHOT)
            with as_our_errors(f"importing image {name}"):
                self._rbd.rename(self._ioctx, partial, name)
        except BaseException as error:
            with suppress(VirtfleetError), as_our_errors(f"removing {partial}"):
                self._remove_partial(partial)
            if isinstance(error, VirtfleetError):
                self._ceph.refuse_full(_NOT_IMPORTED)
            raise

    def trash(self, name: str, retention_seconds: int) -> None:
        """Move an image to the trash; its clones go on."""
        with as_our_errors(f"moving image {name} to the trash"):
            self._rbd.trash_move(self._ioctx, name, retention_seconds)

    def remove(self, name: str) -> None:
        """Remove an image that nothing hangs on; otherwise Ceph refuses."""
        with as_our_errors(f"removing image {name}"):
            with rbd.Image(self._ioctx, name) as image:
                _unpin(image)
            self._rbd.remove(self._ioctx, name)

    def _names(self) -> list[str]:
        with as_our_errors("listing the pool"):
            return list(self._rbd.list(self._ioctx))

    def _read(self, names: Iterable[str]) -> dict[str, StoredImage]:
        """Those of the names that are images."""
        found = {name: self._stored(name) for name in names}
        return {name: image for name, image in found.items() if image is not None}

    def _stored(self, name: str, image_id: str | None = None) -> StoredImage | None:
        """The image, or None for what has no pinned snapshot."""
        with as_our_errors(f"reading image {name}"):
            try:
                with self._opened(name, image_id, GOLDEN_SNAPSHOT) as image:
                    return _facts(image)
            except rbd.ImageNotFound:
                return None

    def _opened(self, name: str, image_id: str | None = None, snapshot: str | None = None) -> Any:
        which = {"name": name} if image_id is None else {"image_id": image_id}
        return rbd.Image(self._ioctx, snapshot=snapshot, read_only=True, **which)

    def _below(self, image: Any, depth: int) -> Iterator[Descendant]:
        for child in image.list_children2():
            if child["pool"] != self._ceph.pool:
                yield Descendant(f"{child['pool']}/{child['image']}", None, depth, child["trash"])
                continue
            # One that was removed in between hangs on nothing any more.
            with suppress(rbd.ImageNotFound):
                with self._opened(child["image"], child["id"]) as volume:
                    vm_id = vm_mark(dict(volume.metadata_list()))
                    below = tuple(self._below(volume, depth + 1))
                yield Descendant(child["image"], vm_id, depth, child["trash"])
                yield from below

    def _remove_partial(self, partial: str) -> None:
        """Remove what another run left; that of a run that was killed is open for Ceph a little longer."""
        deadline = time.monotonic() + _DEAD_AFTER_SECONDS
        while True:
            try:
                with rbd.Image(self._ioctx, partial) as image:
                    _unpin(image)
                self._rbd.remove(self._ioctx, partial)
            except rbd.ImageNotFound:
                return
            except rbd.ImageBusy:
                if time.monotonic() > deadline:
                    raise VirtfleetError(
                        "busy", f"Image {partial} is being written by somebody else", "Wait and run again."
                    ) from None
                time.sleep(1)


class NewImage:
    """An image while it is being filled. `name` is what it is called until then."""

    def __init__(self, image: Any, name: str) -> None:
        self._image = image
        self.name = name

    def resize(self, size_bytes: int) -> None:
        with as_our_errors(f"resizing {self.name}"):
            self._image.resize(size_bytes)

    def write(self, chunks: Iterable[bytes]) -> None:
        """Write all chunks one after the other; it becomes as large as they are. What is zero takes no room."""
        end = size = 0
        writes: deque[tuple[Any, bytes]] = deque()  # with what they write, which has to stay until they are done
        with as_our_errors(f"writing {self.name}"):
            for chunk in chunks:
                begin, end = end, end + len(chunk)
                if end > size:
                    size = end + _GROWTH
                    self._image.resize(size)
                if chunk.count(0) != len(chunk):
                    writes.append((self._image.aio_write(chunk, begin, lambda _completion: None), chunk))
                if len(writes) == _WRITES:
                    finish(writes.popleft()[0])
            while writes:
                finish(writes.popleft()[0])
            self._image.resize(end)
            self._image.flush()

    def describe(self, checksums: Mapping[str, str]) -> None:
        """Keep the checksums of what it was made of."""
        with as_our_errors(f"describing {self.name}"):
            for algorithm, digest in checksums.items():
                self._image.metadata_set(_CHECKSUM + algorithm, digest)


def finish(operation: Any) -> None:
    """Wait for an asynchronous operation, and raise what it failed with."""
    operation.wait_for_complete_and_cb()
    code = operation.get_return_value()
    if code < 0:
        raise rbd.OSError("a read or write failed", errno=-code)


def _facts(image: Any) -> StoredImage:
    metadata = dict(image.metadata_list())
    checksums = {key.removeprefix(_CHECKSUM): value for key, value in metadata.items() if key.startswith(_CHECKSUM)}
    created = image.create_timestamp().strftime("%Y-%m-%dT%H:%M:%SZ")
    return StoredImage(image.size(), GOLDEN_SNAPSHOT, created, checksums)


def _unpin(image: Any) -> None:
    for snapshot in list(image.list_snaps()):
        if image.is_protected_snap(snapshot["name"]):
            image.unprotect_snap(snapshot["name"])
        image.remove_snap(snapshot["name"])
