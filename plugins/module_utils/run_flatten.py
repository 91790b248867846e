# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_flatten does."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule

from .ceph_flatten import flatten
from .errors import VirtfleetError
from .flatten_plan import Flat, decide_flatten
from .progress import Progress
from .run import fail, storage


def run_flatten_module(module: AnsibleModule) -> None:
    """Flatten the volumes of one VM, and end the module."""
    params = module.params
    desired = Flat(params["name"], params["id"], params["node"] or os.uname().nodename)
    try:
        with storage(module) as (_node, ceph):
            plan = decide_flatten(
                desired, ceph.volume(desired.root_volume), ceph.owner(desired.id), ceph.volumes(desired.name)
            )
            if not module.check_mode:
                for step in plan.steps:
                    progress = Progress(module, step.as_text(), "objects")
                    flatten(ceph, step.target, params["timeout"], progress)
    except VirtfleetError as error:
        fail(module, error)
    module.exit_json(changed=plan.changed, actions=plan.actions, diff={"before": plan.before, "after": plan.after})
