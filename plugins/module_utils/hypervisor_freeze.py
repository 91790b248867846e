# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for libvirt: holding a guest's file systems still through its agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .errors import VirtfleetError
from .hypervisor import Hypervisor

try:
    import libvirt
except ImportError:
    HAS_LIBVIRT = False
else:
    HAS_LIBVIRT = True

# How long libvirt waits for the answer to one command; without this it is for ever.
_AGENT_SECONDS = 10
_RELEASE_SECONDS = 40
_POLL_SECONDS = 1


class FreezingHypervisor(Hypervisor):
    """Freezes and thaws guests as well."""

    def __enter__(self) -> FreezingHypervisor:
        return self

    def freeze(self, name: str) -> bool:
        """Have the guest write everything out and hold its file systems still.

        Returns:
            Whether they are; they are not where no agent answers, or where it refuses.

        Raises:
            VirtfleetError: timeout, when it may have frozen them and does not answer to the thaw.
        """
        try:
            code = self._command(name, "freezing", lambda domain: domain.fsFreeze())
        except VirtfleetError:
            self.thaw(name)
            return False
        if code is None:
            return True
        if code == libvirt.VIR_ERR_AGENT_COMMAND_TIMEOUT or not self._connection.isAlive():
            # The agent was told, or may have been before libvirt went away.
            self.thaw(name)
        elif code not in (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, libvirt.VIR_ERR_OPERATION_INVALID):
            # It refused half-way, or went away while it froze.
            self._command(name, "thawing", lambda domain: domain.fsThaw())
        return False

    def thaw(self, name: str) -> None:
        """Let the guest's file systems go, however long its agent is busy; one that is off has none.

        Raises:
            VirtfleetError: timeout.
        """
        hint = f"Its file systems may still stand still: 'virsh domfsthaw {name}' on its node, or run again."
        self._surely(f"thaw the guest of {name}", hint, lambda: self._thawed(name))

    def unpause(self, name: str) -> None:
        """Let a domain go on that was paused for the moment.

        Raises:
            VirtfleetError: timeout.
        """
        hint = f"It may still stand still: 'virsh resume {name}' on its node, or run again."
        self._surely(f"resume {name}", hint, lambda: self._unpaused(name))

    def _surely(self, doing: str, hint: str, attempt: Callable[[], bool]) -> None:
        """Try until it is done, also when libvirt is restarted meanwhile."""
        deadline = time.monotonic() + _RELEASE_SECONDS
        failure = "the agent does not confirm it"
        while True:
            try:
                if attempt():
                    return
            except VirtfleetError as error:
                failure = error.message
            if time.monotonic() > deadline:
                raise VirtfleetError(
                    "timeout", f"It was not possible to {doing} within {_RELEASE_SECONDS} s: {failure}", hint
                )
            time.sleep(_POLL_SECONDS)
            self._reconnect()

    def _reconnect(self) -> None:
        if self._answers and self._connection.isAlive():
            return
        try:
            self._connection = FreezingHypervisor(self._uri)._connection
        except VirtfleetError:
            pass  # The attempt after this one says what is wrong.

    def _thawed(self, name: str) -> bool:
        if self._command(name, "thawing", lambda domain: domain.fsThaw()) is None:
            return True
        return not self._ask(f"reading domain {name}", lambda: self._existing(name).isActive())

    def _unpaused(self, name: str) -> bool:
        domain = self.domain(name)
        if domain is not None and domain.state == "suspended":
            self.resume(name)
        return True

    def _command(self, name: str, what: str, command: Callable[[Any], Any]) -> int | None:
        """Give the agent a command; libvirt's error code, or None when it was done."""

        def call() -> int | None:
            domain = self._existing(name)
            try:
                domain.agentSetResponseTimeout(_AGENT_SECONDS)
                try:
                    command(domain)
                finally:
                    domain.agentSetResponseTimeout(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK)
            except libvirt.libvirtError as error:
                return int(error.get_error_code())
            return None

        result: int | None = self._ask(f"{what} domain {name}", call)
        return result
