# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: all volumes of VMs in a pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

from .ceph import Ceph, as_our_errors, vm_mark
from .orphan_plan import PoolVolume

try:
    import rbd
except ImportError:
    HAS_RBD = False
else:
    HAS_RBD = True

_AT_ONCE = 16


def marked_volumes(ceph: Ceph) -> list[PoolVolume]:
    """Every image of the pool that has the mark of a VM."""
    with as_our_errors("listing the pool"):
        names = list(rbd.RBD().list(ceph.ioctx))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = list(pool.map(lambda name: _volume(ceph.ioctx, name), names))
    return [volume for volume in read if volume is not None]


def _volume(ioctx: Any, name: str) -> PoolVolume | None:
    with as_our_errors(f"reading volume {name}"):
        try:
            with rbd.Image(ioctx, name, read_only=True) as image:
                vm_id = vm_mark(dict(image.metadata_list()))
                if vm_id is None:
                    return None
                # Our own read-only handle does not watch the header, so every watcher is somebody else.
                watchers = len(list(image.watchers_list()))
                return PoolVolume(name, vm_id, watchers, image.create_timestamp().replace(tzinfo=UTC))
        except rbd.ImageNotFound:
            return None  # removed in this moment
