# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: volumes of ours in the trash of a pool."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .ceph import Ceph, as_our_errors, vm_mark
from .ceph_snapshot import holders
from .plan_types import TrashedVolume
from .purge_plan import Holder

try:
    import rbd
except ImportError:
    HAS_RBD = False
else:
    HAS_RBD = True


class Trash:
    """What was deleted and can be brought back. Images in the trash without the mark of a VM are not ours."""

    def __init__(self, ceph: Ceph) -> None:
        self._ioctx = ceph.ioctx
        self._rbd: Any = rbd.RBD()

    def volumes(self, vm: str | None = None) -> tuple[TrashedVolume, ...]:
        """The volumes in the trash, of the VM of this name or of all, the one deleted last first."""
        with as_our_errors("listing the trash"):
            entries = [
                entry for entry in self._rbd.trash_list(self._ioctx) if vm is None or entry["name"].startswith(f"{vm}.")
            ]
            entries.sort(key=lambda entry: entry["deletion_time"], reverse=True)
            found = [(entry, self._vm_id(entry["id"])) for entry in entries]
        return tuple(
            TrashedVolume(
                entry["id"], entry["name"], vm_id, _utc(entry["deletion_time"]), _utc(entry["deferment_end_time"])
            )
            for entry, vm_id in found
            if vm_id
        )

    def restore(self, volume: TrashedVolume) -> None:
        """Bring a volume back under the name that it had."""
        with as_our_errors(f"restoring volume {volume.name}"):
            self._rbd.trash_restore(self._ioctx, volume.trash_id, volume.name)

    def holders(self, volume: TrashedVolume) -> tuple[Holder, ...]:
        """The images that hang on snapshots of a volume, also on those that were removed and live on for them."""
        with as_our_errors(f"reading what hangs on {volume.name}"):
            try:
                with rbd.Image(self._ioctx, image_id=volume.trash_id, read_only=True) as image:
                    ids = [entry["id"] for entry in image.list_snaps()]
                    return tuple(holder for snapshot in ids for holder in holders(image, snapshot))
            except rbd.ImageNotFound:
                return ()  # removed in this moment

    def remove(self, volume: TrashedVolume) -> None:
        """Remove a volume that nothing hangs on for good with its snapshots, before the end of its retention too."""
        with as_our_errors(f"removing {volume.name} from the trash"):
            with rbd.Image(self._ioctx, image_id=volume.trash_id) as image:
                for snapshot in list(image.list_snaps()):
                    if snapshot["namespace"] != rbd.RBD_SNAP_NAMESPACE_TYPE_USER:
                        image.remove_snap_by_id(snapshot["id"])
                        continue
                    if image.is_protected_snap(snapshot["name"]):
                        image.unprotect_snap(snapshot["name"])
                    image.remove_snap(snapshot["name"])
            self._rbd.trash_remove(self._ioctx, volume.trash_id, force=True)

    def _vm_id(self, image_id: str) -> str | None:
        try:
            with rbd.Image(self._ioctx, image_id=image_id, read_only=True) as image:
                return vm_mark(dict(image.metadata_list()))
        except rbd.ImageNotFound:
            return None  # removed in this moment


def _utc(time: datetime) -> datetime:
    # The bindings give naive times in UTC.
    return time.replace(tzinfo=UTC)
