# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups in a directory of the node: DIRECTORY/VM/BACKUP/ with manifest.json and DISK.rbd-diff."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .backup_manifest import Kept, Manifest
from .backup_storage import put_together
from .errors import Backend, NotFound, VirtfleetError
from .field_reader import name_problem
from .rbd_diff import CHUNK

_MANIFEST = "manifest.json"
_PARTIAL = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class BackupDirectory:
    """A BackupStorage in a directory, which has to be there: one that is not mounted is not to be made instead.

    Modes are those of secrets, since disks hold them. A backup is written as BACKUP.partial and renamed at the end.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        if not self._directory.is_dir():
            raise NotFound(
                f"There is no directory {directory} on this node", "Make it or mount it there, or name another one."
            )

    def vms(self) -> list[str]:
        with self._as_our_errors("listing"):
            names = [entry.name for entry in self._directory.iterdir() if entry.is_dir()]
        return sorted(name for name in names if not name_problem(name))

    def kept(self, vm: str) -> Kept:
        contents, partial, sizes = {}, [], {}
        with self._as_our_errors("reading"):
            directory = self._directory / vm
            for entry in sorted(directory.iterdir()) if directory.is_dir() else ():
                name = entry.name.removesuffix(_PARTIAL)
                if not entry.is_dir() or name_problem(name):
                    continue
                if entry.name != name or not (entry / _MANIFEST).exists():
                    partial.append(name)
                    continue
                contents[name] = (entry / _MANIFEST).read_bytes()
                sizes[name] = {file.name: file.stat().st_size for file in entry.iterdir() if file.is_file()}
        return put_together(contents, dict.fromkeys(partial), sizes)

    def write(self, vm: str, backup: str, file: str, parts: Iterable[bytes]) -> None:
        partial = self._partial(vm, backup)
        with self._as_our_errors("writing"):
            self._make(partial.parent)
            self._make(partial)
        self._write(partial / file, parts)

    def publish(self, vm: str, manifest: Manifest) -> None:
        partial = self._partial(vm, manifest.backup)
        self._write(partial / _MANIFEST, [manifest.to_bytes()])
        with self._as_our_errors("writing"):
            _sync(partial)
            partial.rename(self._directory / vm / manifest.backup)
            _sync(partial.parent)

    def read(self, vm: str, backup: str, file: str) -> Iterator[bytes]:
        with self._as_our_errors("reading"):
            source = open(self._directory / vm / backup / file, "rb")
        with source:
            while True:
                with self._as_our_errors("reading"):
                    part = source.read(CHUNK)
                if not part:
                    return
                yield part

    def remove(self, vm: str, backup: str) -> None:
        whole, partial = self._directory / vm / backup, self._partial(vm, backup)
        with self._as_our_errors("removing from"):
            if whole.exists():
                # Without its name first, so that what is half removed is never taken for a backup.
                if partial.exists():
                    shutil.rmtree(partial)
                whole.rename(partial)
                _sync(partial.parent)
            if partial.exists():
                shutil.rmtree(partial)

    def _partial(self, vm: str, backup: str) -> Path:
        return self._directory / vm / f"{backup}{_PARTIAL}"

    @staticmethod
    def _make(directory: Path) -> None:
        if not directory.exists():
            directory.mkdir(mode=0o700)
            _sync(directory.parent)

    def _write(self, file: Path, parts: Iterable[bytes]) -> None:
        # What the parts raise while they are made is not of this directory.
        with self._as_our_errors("writing"):
            target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            for part in parts:
                with self._as_our_errors("writing"):
                    _write_all(target, part)
            with self._as_our_errors("writing"):
                os.fsync(target)
        finally:
            with self._as_our_errors("writing"):
                os.close(target)

    @contextmanager
    def _as_our_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"{error.filename} is not there", "Is the right directory mounted?") from None
        except OSError as error:
            if error.errno in _FULL:
                raise VirtfleetError(
                    "no_capacity",
                    f"There is no room left in {self._directory}",
                    "Make room (remove_backup.yml, or keep of backup_vm.yml) and run again.",
                ) from None
            raise Backend(f"{doing} {self._directory} failed: {error.strerror}", "Look at it on its node.") from None


def _write_all(target: int, part: bytes) -> None:
    rest = memoryview(part)
    while rest:
        rest = rest[os.write(target, rest) :]


def _sync(directory: Path) -> None:
    """Have what was made or renamed in a directory outlast a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
