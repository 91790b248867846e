# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: the snapshots of a VM's volumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .ceph import Ceph, as_our_errors, vm_mark
from .deadline import Overdue, within
from .errors import Unreachable
from .purge_plan import Holder
from .snapshot_plan import RbdSnapshot, Record, Volume

try:
    import rbd
except ImportError:
    HAS_RBD = False
else:
    HAS_RBD = True

_RECORD = "virtfleet.snapshot."
# The size that a volume gets back after a rollback, while one is under way.
_SIZE = "virtfleet.size_bytes"
# A change of an image that a guest has open is made by its QEMU, which may never answer: librbd asks again for ever.
# It is less than the 30 s after which librbd takes a QEMU for dead and evicts it.
_CHANGE_SECONDS = 20
_AT_ONCE = 16
_CHUNK = 4 * 1024 * 1024


class SnapshotStore:
    """The snapshots of volumes in a pool."""

    def __init__(self, ceph: Ceph) -> None:
        self._ceph = ceph
        self._ioctx = ceph.ioctx

    def volumes(self, vm: str, vm_id: str, clones: bool) -> tuple[tuple[Volume, ...], dict[str, Record]]:
        """The volumes of a VM that hold its data, without the seed, and the records of its snapshots.

        Args:
            clones: find out what was cloned from each snapshot, which costs a question for each.
        """
        with as_our_errors(f"listing the volumes of {vm}"):
            names = {name for name in rbd.RBD().list(self._ioctx) if name.startswith(f"{vm}.")}
        return self.read(sorted(names - {f"{vm}.seed"}), clones, vm_id)

    def read(
        self, names: Iterable[str], clones: bool, vm_id: str | None = None
    ) -> tuple[tuple[Volume, ...], dict[str, Record]]:
        """These volumes with their snapshots, and the records that they hold.

        Args:
            vm_id: leave out volumes that are not this VM's.
        """
        found, records = [], {}
        for name in names:
            with as_our_errors(f"reading the snapshots of {name}"), self._open(name, read_only=True) as image:
                metadata = dict(image.metadata_list())
                if vm_id in (None, vm_mark(metadata)):
                    found.append(_volume(name, image, metadata, clones))
                    records.update(_records(metadata))
        return tuple(found), records

    def with_usage(self, volume: Volume) -> Volume:
        """The volume with what each snapshot takes, in whole objects; as it is where Ceph would have to count them."""
        doing = f"reading what the snapshots of {volume.name} take"
        with as_our_errors(doing), self._open(volume.name, read_only=True) as image:
            if image.flags() & rbd.RBD_FLAG_FAST_DIFF_INVALID or not image.features() & rbd.RBD_FEATURE_FAST_DIFF:
                return volume
            before: str | None = None
            snapshots = dict(volume.snapshots)
            for entry in filter(_is_ordinary, list(image.list_snaps())):
                name = entry["name"]
                if name in snapshots:
                    snapshots[name] = replace(snapshots[name], used_bytes=_used(image, before, name))
                before = name
            return replace(volume, snapshots=snapshots)

    def create(self, volumes: Sequence[str], snapshot: str) -> None:
        """Make the snapshot of every volume, of all at once: each takes the monitors a round, with the guest held."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for made in [pool.submit(self._create, volume, snapshot) for volume in volumes]:
                made.result()

    def _create(self, volume: str, snapshot: str) -> None:
        self._change(f"making snapshot {volume}@{snapshot}", volume, lambda image: image.create_snap(snapshot))

    def remove(self, volume: str, snapshot: str) -> None:
        """Remove a snapshot; one that is gone already stays gone."""

        def remove(image: Any) -> None:
            try:
                image.remove_snap(snapshot)
            except rbd.ImageNotFound:
                pass

        self._change(f"removing snapshot {volume}@{snapshot}", volume, remove)

    def write_record(self, root: str, snapshot: str, record: Record) -> None:
        """Keep in the root volume's metadata what is known of a snapshot of the VM."""
        text = json.dumps({"volumes": record.volumes, "guest": record.guest, "done": record.done, "hold": record.hold})
        self._change(
            f"recording snapshot {snapshot} at {root}",
            root,
            lambda image: image.metadata_set(_RECORD + snapshot, text),
        )

    def forget_record(self, root: str, snapshot: str) -> None:
        self._change(
            f"forgetting snapshot {snapshot} at {root}",
            root,
            lambda image: _remove_metadata(image, _RECORD + snapshot),
        )

    def roll_back(self, volume: str, snapshot: str, size_bytes: int) -> None:
        """Give a volume that nobody has open the content of a snapshot; its size stays.

        A rollback gives the old size too, and one that is cut off has forgotten the newer: it is kept meanwhile.
        """
        with as_our_errors(f"rolling {volume} back to {snapshot}"), self._open(volume) as image:
            image.metadata_set(_SIZE, str(size_bytes))
            image.rollback_to_snap(snapshot)
            if image.size() < size_bytes:
                image.resize(size_bytes, allow_shrink=False)
            image.metadata_remove(_SIZE)

    def same(self, volume: str, snapshot: str) -> bool:
        """Whether a volume that nobody has open has the content of a snapshot.

        Only objects written since are compared; a rollback writes them too, so that they alone say nothing.
        """
        with as_our_errors(f"comparing {volume} with {snapshot}"):
            with self._open(volume, read_only=True) as image, self._open(volume, snapshot, True) as then:
                if _SIZE in dict(image.metadata_list()):
                    return False
                written: list[tuple[int, int]] = []
                image.diff_iterate(
                    0,
                    image.size(),
                    snapshot,
                    lambda offset, length, _exists: written.append((offset, length)),
                    whole_object=True,
                )
                return all(_same(image, then, offset, length) for offset, length in written)

    @contextmanager
    def _open(self, volume: str, snapshot: str | None = None, read_only: bool = False) -> Iterator[Any]:
        with rbd.Image(self._ioctx, volume, snapshot=snapshot, read_only=read_only) as image:
            yield image

    def _change(self, doing: str, volume: str, change: Callable[[Any], None]) -> None:
        """Change an image that a guest may have open, within the limit."""

        def call() -> None:
            with self._open(volume) as image:
                change(image)

        with as_our_errors(doing):
            try:
                within(_CHANGE_SECONDS, call)
            except Overdue:
                self._ceph.abandon()
                raise Unreachable(
                    f"Ceph did not answer within {_CHANGE_SECONDS} s while {doing}", "Check 'ceph -s' and run again."
                ) from None


def _volume(name: str, image: Any, metadata: Mapping[str, str], clones: bool) -> Volume:
    snapshots = {}
    for entry in list(image.list_snaps()):
        snapshots[_snapshot_name(entry)] = RbdSnapshot(
            id=entry["id"],
            size_bytes=entry["size"],
            created_at=image.get_snap_timestamp(entry["id"]).strftime("%Y-%m-%dT%H:%M:%SZ"),
            protected=_is_ordinary(entry) and image.is_protected_snap(entry["name"]),
            clones=tuple(map(str, holders(image, entry["id"]))) if clones else (),
        )
    # Our own read-only handle does not watch the header, so every watcher is somebody else.
    watchers = len(list(image.watchers_list()))
    return Volume(name, int(metadata.get(_SIZE, image.size())), watchers, snapshots)


def _is_ordinary(entry: Mapping[str, Any]) -> bool:
    return bool(entry["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER)


def _snapshot_name(entry: Mapping[str, Any]) -> str:
    """Its name; one that was removed and lives on for its clones is named so that nobody takes it for its old self."""
    if entry["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH:
        return f"{entry['trash']['original_name']} (removed, {entry['id']})"
    return str(entry["name"])


def holders(image: Any, snapshot_id: int) -> tuple[Holder, ...]:
    """The images that hang on a snapshot."""
    image.set_snap_by_id(snapshot_id)
    try:
        return tuple(
            Holder(child["id"], f"{child['pool']}/{child['image']}", child["trash"]) for child in image.list_children2()
        )
    finally:
        image.set_snap(None)


def _used(image: Any, before: str | None, snapshot: str) -> int:
    """The bytes of the objects that were written between two snapshots, or up to the first."""
    lengths: list[int] = []
    image.set_snap(snapshot)
    try:
        image.diff_iterate(
            0,
            image.size(),
            before,
            lambda _offset, length, exists: lengths.append(length if exists else 0),
            include_parent=False,
            whole_object=True,
        )
    finally:
        image.set_snap(None)
    return sum(lengths)


def _records(metadata: Mapping[str, str]) -> dict[str, Record]:
    found = {}
    for key, text in metadata.items():
        if key.startswith(_RECORD):
            values = json.loads(text)
            found[key.removeprefix(_RECORD)] = Record(
                tuple(values["volumes"]), values["guest"], values["done"], values["hold"]
            )
    return found


def _remove_metadata(image: Any, key: str) -> None:
    if key in dict(image.metadata_list()):
        image.metadata_remove(key)


def _same(image: Any, then: Any, offset: int, length: int) -> bool:
    """Whether both hold the same here; where one ends, the other has to be empty."""
    for begin in range(offset, offset + length, _CHUNK):
        size = min(_CHUNK, offset + length - begin)
        if _read(image, begin, size) != _read(then, begin, size):
            return False
    return True


def _read(image: Any, offset: int, length: int) -> bytes:
    readable = max(0, min(length, image.size() - offset))
    content: bytes = image.read(offset, readable) if readable else b""
    return content.ljust(length, b"\0")
