# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_trash does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .ceph_trash import Trash
from .errors import VirtfleetError
from .plan_types import TrashedVolume
from .purge_plan import decide_purge
from .run import fail, storage


def run_trash_module(module: AnsibleModule) -> None:
    """Remove what is to be removed from the trash, and end the module."""
    try:
        with storage(module) as (_node, ceph):
            trash = Trash(ceph)
            before = trash.volumes(module.params["name"])
            due = expired(before, datetime.now(UTC)) if module.params["expired_only"] else before
            doomed, kept = decide_purge(due, {volume.trash_id: trash.holders(volume) for volume in due})
            if not module.check_mode:
                _remove(trash, doomed, kept)
    except VirtfleetError as error:
        fail(module, error)
    after = [volume for volume in before if volume not in doomed]
    module.exit_json(
        changed=bool(doomed),
        volumes=[_view(volume) for volume in after],
        actions=[f"purge {volume.name}" for volume in doomed],
        diff={
            "before": {"trash": [volume.name for volume in before]},
            "after": {"trash": [volume.name for volume in after]},
        },
    )


def expired(volumes: Sequence[TrashedVolume], now: datetime) -> tuple[TrashedVolume, ...]:
    """Those whose retention is over."""
    return tuple(volume for volume in volumes if volume.expires_at <= now)


def _remove(trash: Trash, volumes: Sequence[TrashedVolume], kept: Sequence[str]) -> None:
    """Remove every one of them that can be; one that cannot does not keep the others."""
    problems = list(kept)
    for volume in volumes:
        try:
            trash.remove(volume)
        except VirtfleetError as error:
            problems.append(f"{volume.name}: {error.message}")
    if problems:
        raise VirtfleetError(
            "conflict",
            "Some volumes could not be removed",
            "They stay in the trash with the rest of their VMs; the others are gone. A clone lets go when it is deleted"
            " and purged, or flattened (flatten_vm.yml).",
            problems,
        )


def _view(volume: TrashedVolume) -> dict[str, Any]:
    return {
        "name": volume.name,
        "vm_id": volume.vm_id,
        "deleted_at": volume.deleted_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expires_at": volume.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
