# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: bringing a disk image into a pool as a golden image."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .ceph import GOLDEN_SNAPSHOT, Ceph, as_our_errors
from .errors import Conflict, NotFound

try:
    import rbd
except ImportError:
    HAS_RBD = False
else:
    HAS_RBD = True

_CHUNK = 4 * 1024 * 1024


class ImageStore:
    """The golden images of a pool."""

    def __init__(self, ceph: Ceph) -> None:
        self._ioctx = ceph.ioctx

    def import_file(self, name: str, path: str) -> None:
        """Write a raw file into the image `name` and pin it by its snapshot.

        It is written under another name first, so that a run that is cut off leaves no half image under the real one.

        Raises:
            NotFound: there is no such file.
        """
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            raise NotFound(f"{path} is not there", "Give the path of a raw disk image on the node.") from None
        partial = f"{name}.importing"
        with as_our_errors(f"importing image {name}"):
            self._remove_partial(partial)
            rbd.RBD().create(self._ioctx, partial, size)
            with rbd.Image(self._ioctx, partial) as image:
                for offset, chunk in _chunks_with_data(path):
                    image.write(chunk, offset)
                image.flush()
                image.create_snap(GOLDEN_SNAPSHOT)
                image.protect_snap(GOLDEN_SNAPSHOT)
            rbd.RBD().rename(self._ioctx, partial, name)

    def remove(self, name: str) -> None:
        """Remove an image that nothing was cloned from.

        Raises:
            Conflict: volumes hang on it; they are named.
        """
        with as_our_errors(f"removing image {name}"), rbd.Image(self._ioctx, name) as image:
            image.set_snap(GOLDEN_SNAPSHOT)
            children = [child for _pool, child in image.list_children()]
            image.set_snap(None)
            if children:
                raise Conflict(f"Image {name} has clones", "Delete these VMs first, or keep the image.", children)
            self._unpin(image)
        with as_our_errors(f"removing image {name}"):
            rbd.RBD().remove(self._ioctx, name)

    def _remove_partial(self, partial: str) -> None:
        try:
            with rbd.Image(self._ioctx, partial) as image:
                self._unpin(image)
            rbd.RBD().remove(self._ioctx, partial)
        except rbd.ImageNotFound:
            pass

    @staticmethod
    def _unpin(image: rbd.Image) -> None:
        for snapshot in list(image.list_snaps()):
            if image.is_protected_snap(snapshot["name"]):
                image.unprotect_snap(snapshot["name"])
            image.remove_snap(snapshot["name"])


def _chunks_with_data(path: str) -> Iterator[tuple[int, bytes]]:
    """Offset and content of every chunk that is not all zeros; a new RBD image reads as zeros."""
    with open(path, "rb") as file:
        offset = 0
        while chunk := file.read(_CHUNK):
            if chunk.count(0) != len(chunk):
                yield offset, chunk
            offset += len(chunk)
