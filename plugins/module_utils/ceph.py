# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: volumes, images and ownership in one pool, through librados and librbd."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .errors import Backend, Conflict, Unreachable, VirtfleetError
from .ownership import Ownership
from .plan_types import ImageFacts, VolumeFacts

try:
    import rados
    import rbd
except ImportError:
    HAS_CEPH = False
else:
    HAS_CEPH = True

GOLDEN_SNAPSHOT = "golden"
_OURS = "virtfleet."
_VM_ID = "virtfleet.vm_id"
_SEED = "virtfleet.seed_sha256"
_REQUEST = "virtfleet.request_sha256"
_RECORD = "virtfleet.record"
# Monitors that lost their leader need some 20 s until they answer again (mon_lease, mon_election_timeout).
_ANSWER_SECONDS = 30
_MAKE_ROOM = "Make room ('ceph df', 'ceph osd pool get-quota')"
# Options of librados, which waits for ever without them; in seconds.
TIMEOUTS = {
    "client_mount_timeout": str(_ANSWER_SECONDS),
    "rados_mon_op_timeout": str(_ANSWER_SECONDS),
    "rados_osd_op_timeout": str(_ANSWER_SECONDS),
}


@dataclass(frozen=True, slots=True)
class Marks:
    """What a volume is marked with: the VM that it belongs to, and the digest of what was asked for."""

    vm_id: str
    request_sha256: str


class Ceph:
    """One connection to one pool. Use as a context manager.

    Raises (every method):
        Unreachable: no answer in time; nothing is known about what is there.
        Backend: Ceph answered with an error.
    """

    def __init__(self, conf: str, client: str, pool: str) -> None:
        if not HAS_CEPH:
            raise Backend(
                "The Python bindings of Ceph are not installed on this host",
                "Install python3-rados and python3-rbd from the distribution (role libvirt does).",
            )
        self.pool = pool
        self._cluster: Any = None
        with as_our_errors(f"connecting to Ceph as client.{client} with {conf}"):
            self._cluster = rados.Rados(
                conffile=conf,
                name=f"client.{client}",
                conf=TIMEOUTS,
            )
            self._cluster.connect(timeout=_ANSWER_SECONDS)
            self.ioctx: Any = self._cluster.open_ioctx(pool)
            # In a full pool what needs room then fails at once, instead of waiting for it, and removing still works.
            self.ioctx.set_osdmap_full_try()
        self._rbd: Any = rbd.RBD()
        self._monitors: tuple[tuple[str, int], ...] = ()
        self._answers = True

    def __enter__(self) -> Ceph:
        return self

    def __exit__(self, *_unused: object) -> None:
        # Closing waits for what is under way: a cluster that is silent is left alone.
        if self._answers:
            self.ioctx.close()
            self._cluster.shutdown()

    def abandon(self) -> None:
        """Something is under way that did not answer in time: do not wait for it at the end."""
        self._answers = False

    def _ask_monitors(self, doing: str, **command: str) -> Any:
        """What the monitors answer to a command."""
        with as_our_errors(doing):
            code, output, text = self._cluster.mon_command(
                json.dumps({**command, "format": "json"}), b"", timeout=_ANSWER_SECONDS
            )
            if code != 0:
                raise rados.OSError(text, -code)
        return json.loads(output)

    def pool_is_full(self) -> bool:
        """Whether the pool takes no more data: its quota is used up, or an OSD is full. Writing would wait for room."""
        pools = self._ask_monitors("reading the state of the pool", prefix="osd pool ls", detail="detail")
        flags = [pool["flags_names"] for pool in pools if pool["pool_name"] == self.pool]
        return "full" in flags[0].split(",")

    def refuse_full(self, outcome: str) -> None:
        """no_capacity, where the pool takes no more data.

        Args:
            outcome: what that means, to be told.
        """
        if self.pool_is_full():
            raise VirtfleetError("no_capacity", f"Pool {self.pool} is full", f"{_MAKE_ROOM}; {outcome}.")

    def monitors(self) -> tuple[tuple[str, int], ...]:
        """Address and port (messenger v1, which every libvirt speaks) of all monitors, asked for once."""
        self._monitors = self._monitors or self._read_monitors()
        return self._monitors

    def _read_monitors(self) -> tuple[tuple[str, int], ...]:
        found = []
        for monitor in self._ask_monitors("listing the monitors", prefix="mon dump")["mons"]:
            for address in monitor["public_addrs"]["addrvec"]:
                if address["type"] == "v1":
                    host, port = address["addr"].rsplit(":", 1)
                    found.append((host.strip("[]"), int(port)))
        return tuple(found)

    def volume(self, name: str) -> VolumeFacts | None:
        """The RBD image of this name, or None when the pool was read and does not hold it."""
        with as_our_errors(f"reading volume {name}"):
            try:
                with rbd.Image(self.ioctx, name, read_only=True) as image:
                    metadata = dict(image.metadata_list())
                    # Our own read-only handle does not watch the header, so every watcher is somebody else.
                    watchers = len(list(image.watchers_list()))
                    marks = vm_mark(metadata), metadata.get(_SEED)
                    return VolumeFacts(image.size(), _parent(image), *marks, watchers, metadata.get(_RECORD))
            except rbd.ImageNotFound:
                return None

    def volumes(self, vm: str) -> dict[str, VolumeFacts]:
        """Every RBD image whose name begins with that of the VM, beside its root and its seed."""
        with as_our_errors(f"listing the volumes of {vm}"):
            names = [name for name in self._rbd.list(self.ioctx) if name.startswith(f"{vm}.")]
        rest = {name: self.volume(name) for name in names if name.partition(".")[2] not in ("root", "seed")}
        return {name: volume for name, volume in rest.items() if volume is not None}

    def image(self, name: str) -> ImageFacts | None:
        """The golden image of this name: None when it, or its pinned snapshot, is not there."""
        with as_our_errors(f"reading image {name}"):
            try:
                with rbd.Image(self.ioctx, name, snapshot=GOLDEN_SNAPSHOT, read_only=True) as image:
                    return ImageFacts(image.size(), GOLDEN_SNAPSHOT)
            except rbd.ImageNotFound:
                return None

    def clone(self, image: str, snapshot: str, volume: str) -> None:
        with as_our_errors(f"cloning {image}@{snapshot} to {volume}"):
            self._rbd.clone(self.ioctx, image, snapshot, self.ioctx, volume)

    def grow(self, volume: str, size_bytes: int) -> None:
        with as_our_errors(f"growing volume {volume}"), rbd.Image(self.ioctx, volume) as image:
            image.resize(size_bytes, allow_shrink=False)

    def create_disk(self, volume: str, size_bytes: int, vm_id: str) -> None:
        """Make an empty volume of a VM. It gets its name last, so that none without the VM's mark is ever seen."""
        making = _making(vm_id, volume)
        with as_our_errors(f"making volume {volume}"):
            try:
                self._rbd.create(self.ioctx, making, size_bytes)
            except rbd.ImageExists:
                pass  # Left behind by a run that was cut off.
            with rbd.Image(self.ioctx, making) as image:
                image.resize(size_bytes, allow_shrink=True)
                image.metadata_set(_VM_ID, vm_id)
            self._rbd.rename(self.ioctx, making, volume)

    def clone_volume(self, parent: str, snapshot: str, volume: str, size_bytes: int, marks: Marks) -> None:
        """Make a volume of a VM from a snapshot of one of another VM, which need not be protected.

        A clone is born with the metadata of its parent, and so as that VM's: it gets its name when it has its own.
        """
        making = _making(marks.vm_id, volume)
        with as_our_errors(f"cloning {parent}@{snapshot} to {volume}"):
            self._clone_to(making, parent, snapshot)
            with rbd.Image(self.ioctx, making) as image:
                for key, _value in list(image.metadata_list()):
                    if key.startswith(_OURS):
                        image.metadata_remove(key)
                image.resize(size_bytes, allow_shrink=False)
                image.metadata_set(_REQUEST, marks.request_sha256)
                image.metadata_set(_VM_ID, marks.vm_id)
            self._rbd.rename(self.ioctx, making, volume)

    def _clone_to(self, making: str, parent: str, snapshot: str) -> None:
        """The clone by a passing name; one that a run which was cut off left is taken, if it is of the same."""
        try:
            self._rbd.clone(self.ioctx, parent, snapshot, self.ioctx, making, clone_format=2)
        except rbd.ImageExists:
            with rbd.Image(self.ioctx, making, read_only=True) as image:
                same = _parent(image) == f"{parent}@{snapshot}"
            if not same:
                self._rbd.remove(self.ioctx, making)
                self._rbd.clone(self.ioctx, parent, snapshot, self.ioctx, making, clone_format=2)

    def unnamed(self, vm_id: str) -> tuple[str, ...]:
        """What is left of volumes of a VM that were cut off before they got their names."""
        with as_our_errors(f"listing what is left of VM {vm_id}"):
            return tuple(sorted(name for name in self._rbd.list(self.ioctx) if name.startswith(f"{vm_id}.")))

    def mark(self, volume: str, vm_id: str, request_sha256: str, record: str | None = None) -> None:
        """Write into the volume's metadata which VM it belongs to, the digest of what was asked for, and the record."""
        with as_our_errors(f"marking volume {volume}"), rbd.Image(self.ioctx, volume) as image:
            image.metadata_set(_REQUEST, request_sha256)
            if record is not None:
                image.metadata_set(_RECORD, record)
            image.metadata_set(_VM_ID, vm_id)

    def keep_record(self, volume: str, record: str) -> None:
        """Write what the registry has of a VM into the metadata of its volume, which may be open."""
        with as_our_errors(f"keeping the record of volume {volume}"), rbd.Image(self.ioctx, volume) as image:
            image.metadata_set(_RECORD, record)

    def write_seed(self, volume: str, content: bytes, vm_id: str, sha256: str) -> None:
        """Make the seed volume, or write it anew; the digest goes in last, so that a torn write is seen."""
        with as_our_errors(f"writing seed {volume}"):
            try:
                self._rbd.create(self.ioctx, volume, len(content))
                new = True
            except rbd.ImageExists:
                new = False
            with rbd.Image(self.ioctx, volume) as image:
                image.metadata_set(_VM_ID, vm_id)
                if not new:
                    image.metadata_set(_SEED, "")
                    image.resize(len(content), allow_shrink=True)
                image.write(content, 0)
                image.flush()
                image.metadata_set(_SEED, sha256)

    def trash(self, volume: str, retention_seconds: int) -> None:
        with as_our_errors(f"moving volume {volume} to the trash"):
            self._rbd.trash_move(self.ioctx, volume, retention_seconds)

    def remove(self, volume: str) -> None:
        with as_our_errors(f"removing volume {volume}"):
            self._rbd.remove(self.ioctx, volume)

    def owner(self, vm_id: str) -> str | None:
        """The node that may run this VM, or None. While it moves this names both nodes, and so is equal to neither."""
        ownership = self.ownership(vm_id)
        return None if ownership is None else str(ownership)

    def ownership(self, vm_id: str) -> Ownership | None:
        """The owner of this VM, or None when the pool was read and names none."""
        with as_our_errors(f"reading the owner of VM {vm_id}"):
            try:
                return Ownership.from_bytes(self.ioctx.read(owner_object(vm_id)))
            except rados.ObjectNotFound:
                return None

    def take_ownership(self, vm_id: str, node: str) -> None:
        """Make `node` the owner; one atomic operation, so of two takers one fails.

        RBD's own exclusive lock cannot serve: it is handed over on request and so stops nobody.
        """
        with as_our_errors(f"taking ownership of VM {vm_id}"):
            with rados.WriteOpCtx() as operation:
                operation.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
                operation.write_full(Ownership(node).to_bytes())
                try:
                    self.ioctx.operate_write_op(operation, owner_object(vm_id))
                except rados.ObjectExists:
                    raise Conflict(
                        f"Another node took VM {vm_id} at the same moment", "Run again to see its owner."
                    ) from None

    def release_ownership(self, vm_id: str) -> None:
        with as_our_errors(f"releasing the ownership of VM {vm_id}"):
            try:
                self.ioctx.remove_object(owner_object(vm_id))
            except rados.ObjectNotFound:
                pass  # Released by the run before this one.


def vm_mark(metadata: Mapping[str, str]) -> str | None:
    """The VM that a volume belongs to, by its metadata."""
    return metadata.get(_VM_ID)


def _making(vm_id: str, volume: str) -> str:
    """What a volume is called until it is this VM's."""
    return f"{vm_id}.{volume}.making"


def marks(vm_id: str, seed_sha256: str | None) -> dict[str, str]:
    """The metadata of a volume of a VM, and of its seed where the digest of its documents is given."""
    return {_VM_ID: vm_id} | ({} if seed_sha256 is None else {_SEED: seed_sha256})


def owner_object(vm_id: str) -> str:
    """The name of the RADOS object that says who owns this VM."""
    return f"virtfleet.owner.{vm_id}"


def _parent(image: Any) -> str | None:
    try:
        _pool, name, snapshot = image.parent_info()
    except rbd.ImageNotFound:
        return None
    return f"{name}@{snapshot}"


@contextmanager
def as_our_errors(doing: str) -> Iterator[None]:
    """Turn what the bindings raise into our errors, with what was being done."""
    try:
        yield
    except VirtfleetError:
        raise
    except (rados.TimedOut, rados.ObjectNotFound) as error:
        # librados reports monitors that do not answer, a missing keyring and a missing pool as these two.
        raise Unreachable(
            f"Ceph did not answer while {doing}: {error}",
            "Check 'ceph -s', the monitors in ceph.conf, the client's keyring and the pool's name.",
        ) from None
    except rbd.ImageHasSnapshots as error:
        raise Conflict(f"Ceph refused while {doing}: {error}", "Remove its snapshots first.") from None
    except (rados.Error, rbd.Error) as error:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise VirtfleetError(
                "no_capacity", f"Ceph has no room while {doing}", f"{_MAKE_ROOM} and run again."
            ) from None
        if "timed out" in str(error).lower() or number == errno.ETIMEDOUT:
            raise Unreachable(f"Ceph did not answer while {doing}: {error}", "Check 'ceph -s'.") from None
        raise Backend(f"Ceph failed while {doing}: {error}", "Check 'ceph -s' and run again.") from None
