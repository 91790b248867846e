# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin nft_table."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

MODULE = "virtfleet.cloud.nft_table"


class ActionModule(ActionBase):
    """Has rules tried out, and kept over a connection that was made under them."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        result |= self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        if result.get("failed") or not result.get("changed") or self._task.check_mode or _is_removed(arguments):
            return result
        try:
            # One that is established passes any rules.
            self._connection.reset()
            kept = self._execute_module(
                module_name=MODULE, module_args=arguments | {"step": "keep"}, task_vars=task_vars
            )
        except AnsibleConnectionFailure as error:
            return result | {"failed": True, "msg": _lost(arguments, error)}
        return result | kept if kept.get("failed") else result


def _is_removed(arguments: dict[str, Any]) -> bool:
    return arguments.get("state") == "absent"


def _lost(arguments: dict[str, Any], error: Exception) -> str:
    seconds = arguments.get("rollback_seconds", 30)
    return (
        f"The host cannot be reached under the new rules, so the old ones come back {seconds} s after they went."
        f" Let the controller in by firewall_admin_networks and run again. ({error})"
    )
