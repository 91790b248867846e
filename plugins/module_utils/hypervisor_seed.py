# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for libvirt: the drive of a VM's seed, and what its guest has made of it."""

from __future__ import annotations

import json
import time

from .errors import VirtfleetError
from .hypervisor import Hypervisor, affect

try:
    import libvirt
    import libvirt_qemu
except ImportError:
    HAS_LIBVIRT = False
else:
    HAS_LIBVIRT = True

_AGENT_SECONDS = 10
_POLL_SECONDS = 2


class SeedHypervisor(Hypervisor):
    """Changes what is in the drive, and asks the guest's agent."""

    def change_medium(self, name: str, drive: str, defined: bool, live: bool) -> None:
        """Have the drive be like this, in the definition, in the running domain, or in both.

        Args:
            drive: its XML, with what is to be in it, or with nothing.
        """
        flags = affect(defined, live) | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE
        self._ask(
            f"changing the seed in the drive of domain {name}",
            lambda: self._existing(name).updateDeviceFlags(drive, flags),
        )

    def wait_for_first_boot(self, name: str, instance_id: str, seconds: int) -> None:
        """Wait until cloud-init in the guest is through with this instance, by the file that it leaves behind.

        Raises:
            VirtfleetError: timeout, with what the agent said last.
        """
        # https://docs.cloud-init.io, "Instance data directory": boot-finished is written by the final stage.
        path = f"/var/lib/cloud/instances/{instance_id}/boot-finished"
        deadline = time.monotonic() + seconds
        while (answer := self._missing(name, path)) is not None:
            if time.monotonic() >= deadline:
                raise VirtfleetError(
                    "timeout",
                    f"The guest of {name} has not told within {seconds} s that its first boot is over: {answer}",
                    "Wait and run again; a guest without an agent cannot tell: give force=true if you know that it is.",
                )
            time.sleep(_POLL_SECONDS)

    def _missing(self, name: str, path: str) -> str | None:
        """None where the guest has this file, else why it cannot be opened."""

        def opened() -> str | None:
            domain = self._existing(name)
            try:
                answer = _agent(domain, "guest-file-open", path=path, mode="r")
                _agent(domain, "guest-file-close", handle=answer["return"])
            except libvirt.libvirtError as error:
                return str(error)
            return None

        result: str | None = self._ask(f"asking the guest of {name}", opened)
        return result


def _agent(domain: object, command: str, **arguments: object) -> dict[str, int]:
    request = json.dumps({"execute": command, "arguments": arguments})
    answer: dict[str, int] = json.loads(libvirt_qemu.qemuAgentCommand(domain, request, _AGENT_SECONDS, 0))
    return answer
