# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a place for backups can do; backup_directory and ceph_backup are two of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from .backup_manifest import Kept, Manifest


class BackupStorage(Protocol):
    """A place that holds backups by the name of their VM and by their own.

    A backup without a manifest, which is written last, is partial: it was cut off, or is being written.

    Raises (every method):
        VirtfleetError: no_capacity where it is full, not_found where what is read is not there, backend otherwise.
    """

    def vms(self) -> list[str]:
        """The names of the VMs that it holds backups of."""

    def kept(self, vm: str) -> Kept:
        """The backups of the VMs of this name."""

    def write(self, vm: str, backup: str, file: str, parts: Iterable[bytes]) -> None:
        """Write a file of a partial backup; what it consists of is read meanwhile."""

    def publish(self, vm: str, manifest: Manifest) -> None:
        """Make a partial backup a whole one, or not at all."""

    def read(self, vm: str, backup: str, file: str) -> Iterator[bytes]:
        """The parts of a file of a whole backup."""

    def remove(self, vm: str, backup: str) -> None:
        """Remove a backup, whole or partial; one that is gone stays gone. Cut off, it leaves a partial one."""


def put_together(contents: Mapping[str, bytes], partial: Iterable[str], sizes: Mapping[str, Mapping[str, int]]) -> Kept:
    """What a place holds, by what was found there.

    Args:
        contents: the bytes of the manifests by backup.
        partial: the backups without one.
        sizes: the bytes of every file, by backup.
    """
    manifests, broken = [], {}
    for backup, content in contents.items():
        try:
            manifest = Manifest.from_bytes(content)
        except ValueError as error:
            broken[backup] = str(error)
            continue
        if manifest.backup == backup:
            manifests.append(manifest)
        else:
            broken[backup] = f"its manifest is that of {manifest.backup}"
    return Kept(
        tuple(sorted(manifests, key=lambda manifest: (manifest.number, manifest.backup))),
        tuple(sorted(set(partial) - set(contents))),
        broken,
        sizes,
    )
