# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: backups in a pool beside that of the volumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .backup_manifest import Kept, Manifest
from .backup_storage import put_together
from .ceph import Ceph, as_our_errors
from .ceph_diff import remove_image
from .ceph_image import NewImage
from .errors import NotFound, VirtfleetError
from .field_reader import name_problem
from .rbd_diff import CHUNK

try:
    import rados
    import rbd
except ImportError:
    HAS_CEPH = False
else:
    HAS_CEPH = True

_PREFIX = "virtfleet-backup"
_LONGEST_MANIFEST = 4 * 1024 * 1024


class BackupPool:
    """A BackupStorage in a pool: each file an RBD image that holds its bytes, each manifest a RADOS object.

    The images tell which backups there are, as RBD lists them fast whatever else is in the pool. Since no label has a
    dot in it, their names can be taken apart again.
    """

    def __init__(self, ceph: Ceph) -> None:
        self._ceph = ceph
        self._ioctx = ceph.ioctx
        self._rbd: Any = rbd.RBD()

    def vms(self) -> list[str]:
        return sorted({vm for vm, _backup, _file in self._names()})

    def kept(self, vm: str) -> Kept:
        contents: dict[str, bytes] = {}
        sizes: dict[str, dict[str, int]] = {}
        for owner, backup, file in self._names():
            if owner == vm:
                sizes.setdefault(backup, {})[file] = 0
        for backup, files in sizes.items():
            manifest = self._manifest(vm, backup)
            if manifest is not None:
                contents[backup] = manifest
                files.update({file: self._size(_image(vm, backup, file)) for file in files})
        return put_together(contents, set(sizes) - set(contents), sizes)

    def write(self, vm: str, backup: str, file: str, parts: Iterable[bytes]) -> None:
        name = _image(vm, backup, file)
        with self._doing(f"making {name}"):
            remove_image(self._ioctx, name)
            self._rbd.create(self._ioctx, name, 0)
        with self._doing(f"writing {name}"), rbd.Image(self._ioctx, name) as image:
            NewImage(image, name).write(_in_chunks(parts))

    def publish(self, vm: str, manifest: Manifest) -> None:
        with self._doing(f"writing the manifest of {vm}/{manifest.backup}"):
            self._ioctx.write_full(_object(vm, manifest.backup), manifest.to_bytes())

    def read(self, vm: str, backup: str, file: str) -> Iterator[bytes]:
        name = _image(vm, backup, file)
        with self._doing(f"reading {name}"):
            try:
                image = rbd.Image(self._ioctx, name, read_only=True)
            except rbd.ImageNotFound:
                raise NotFound(f"{self._ceph.pool}/{name} is not there", "Was it removed by hand?") from None
        with image:
            size = image.size()
            for begin in range(0, size, CHUNK):
                with self._doing(f"reading {name}"):
                    part = image.read(begin, min(CHUNK, size - begin))
                yield part

    def remove(self, vm: str, backup: str) -> None:
        files = [file for owner, name, file in self._names() if (owner, name) == (vm, backup)]
        with self._doing(f"removing {vm}/{backup}"):
            # The manifest first, so that what is half removed is never taken for a backup.
            try:
                self._ioctx.remove_object(_object(vm, backup))
            except rados.ObjectNotFound:
                pass
            for file in files:
                remove_image(self._ioctx, _image(vm, backup, file))

    def _names(self) -> list[tuple[str, str, str]]:
        """VM, backup and file of every image that is ours."""
        with self._doing("listing the pool"):
            words = [name.split(".", 3) for name in self._rbd.list(self._ioctx)]
        return [(found[1], found[2], found[3]) for found in words if _is_ours(found)]

    def _manifest(self, vm: str, backup: str) -> bytes | None:
        with self._doing(f"reading the manifest of {vm}/{backup}"):
            try:
                content: bytes = self._ioctx.read(_object(vm, backup), _LONGEST_MANIFEST)
            except rados.ObjectNotFound:
                return None
        return content

    def _size(self, name: str) -> int:
        with self._doing(f"reading {name}"), rbd.Image(self._ioctx, name, read_only=True) as image:
            return int(image.size())

    @contextmanager
    def _doing(self, doing: str) -> Iterator[None]:
        """Say what helps where the pool is full, or not ours to write to."""
        try:
            with as_our_errors(f"{doing} in pool {self._ceph.pool}"):
                yield
        except VirtfleetError as error:
            if error.code == "no_capacity":
                error.hint = "Make room (remove_backup.yml, or keep of backup_vm.yml) and run again."
            elif "ermission" in error.message or "not permitted" in error.message:
                error.hint = "Let the client use this pool (ceph_backup_pool of role ceph)."
            raise


def _image(vm: str, backup: str, file: str) -> str:
    return f"{_PREFIX}.{vm}.{backup}.{file}"


def _object(vm: str, backup: str) -> str:
    return f"{_PREFIX}.{vm}.{backup}"


def _is_ours(words: list[str]) -> bool:
    return len(words) == 4 and words[0] == _PREFIX and not any(map(name_problem, words[1:3]))


def _in_chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, in parts of equal size but for the last."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        while len(buffer) >= CHUNK:
            yield bytes(buffer[:CHUNK])
            del buffer[:CHUNK]
    if buffer:
        yield bytes(buffer)
