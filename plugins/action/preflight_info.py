# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin preflight_info."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs the module, and compares the clocks."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        before = time.time()
        result |= self._execute_module(
            module_name="virtfleet.cloud.preflight_info", module_args=dict(self._task.args), task_vars=task_vars
        )
        after = time.time()
        if host := result.get("host"):
            result["seconds_apart"] = round(host["time"] - (before + after) / 2, 1)
            result["seconds_unsure"] = round((after - before) / 2, 1)
        return result
