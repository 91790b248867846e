# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long module is, in the journal of its node; Ansible shows nothing of a module before its end."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule

_SECONDS = 5


class Progress:
    """Logs what it is told, at most every few seconds.

    Args:
        what: what is being done.
        unit: of what is counted.
        scale: how many of what is counted make one of the unit.
    """

    def __init__(self, module: AnsibleModule, what: str, unit: str, scale: int = 1) -> None:
        self._module = module
        self._what = what
        self._unit = unit
        self._scale = scale
        self._last = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        """So much is done of so much; the total is None where nobody knows it."""
        if time.monotonic() - self._last < _SECONDS:
            return
        self._last = time.monotonic()
        of = f" of {total // self._scale} {self._unit}, {100 * done // total} %" if total else f" {self._unit}"
        self._module.log(f"{self._what}: {done // self._scale}{of}")
