# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_orphans does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ansible.module_utils.basic import AnsibleModule

from .ceph_orphans import marked_volumes
from .errors import VirtfleetError
from .orphan_plan import decide_orphans, orphans
from .run import DAY_SECONDS, carry_out, fail, storage


def run_orphans_module(module: AnsibleModule) -> None:
    """Move the volumes that belong to no VM to the trash, and end the module."""
    params = module.params
    grace = timedelta(hours=params["grace_hours"])
    try:
        with storage(module) as (_node, ceph):
            found = orphans(frozenset(params["known_ids"]), marked_volumes(ceph), datetime.now(UTC), grace)
            plan = decide_orphans(found)
            if not module.check_mode:
                retention = params["retention_days"] * DAY_SECONDS
                carry_out(plan, lambda step: ceph.trash(step.target, retention))
    except VirtfleetError as error:
        fail(module, error)
    module.exit_json(
        changed=plan.changed,
        findings=[orphan.view() for orphan in found],
        actions=plan.actions,
        diff={"before": plan.before, "after": plan.after},
    )
