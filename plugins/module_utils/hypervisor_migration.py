# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for libvirt: what a node says before a VM moves to it, and the move itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from .deadline import Overdue, within
from .errors import Unreachable, VirtfleetError
from .hypervisor import Hypervisor
from .migration_plan import Limits, host_cpu, interfaces, memory_uri

try:
    import libvirt
except ImportError:
    HAS_LIBVIRT = False
else:
    HAS_LIBVIRT = True

_POLL_SECONDS = 0.2
# From the order to break off until libvirt has told the target and the guest runs on.
_ABORT_SECONDS = 60
MIB = 1024**2


class MigrationHost(Hypervisor):
    """A Hypervisor that VMs move from and to. Raises what that does."""

    def has_secret(self, uuid: str) -> bool:
        """Whether libvirt has this secret, and a value for it."""

        def read() -> bool:
            try:
                return bool(self._connection.secretLookupByUUIDString(uuid).value())
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
                    return False
                raise

        return self._ask("reading the Ceph secret", read)

    def interfaces(self, name: str) -> tuple[tuple[str, str], ...]:
        """Type and source of the domain's network interfaces."""
        return interfaces(self._ask(f"reading domain {name}", lambda: self._existing(name).XMLDesc()))

    def cpu(self) -> str:
        """The node's CPU as XML, for cpu_is_within on another node."""
        return host_cpu(self._ask("reading the node's capabilities", self._connection.getCapabilities))

    def cpu_is_within(self, other: str) -> bool:
        """Whether a guest that uses all that this node's CPU can do runs on the other CPU as well."""
        own = self.cpu()

        def compare() -> bool:
            # What both can do is all that this one can do, if the other lacks nothing.
            baseline = self._connection.baselineCPU
            return bool(baseline([own, own]) == baseline([own, other]))

        return self._ask("comparing the CPUs", compare)

    def migrate_definition(self, name: str, uri: str) -> None:
        """Move a domain that is stopped: only its definition goes."""
        self._ask(
            f"moving the definition of {name}",
            lambda: self._existing(name).migrateToURI3(uri, {}, _common_flags() | libvirt.VIR_MIGRATE_OFFLINE),
        )

    def migrate(self, name: str, uri: str, address: str, limits: Limits) -> dict[str, Any]:
        """Move a domain that runs or is suspended; it goes on in the same state. Returns how it went.

        Args:
            uri: of the target's libvirt.
            address: of the target, where the memory goes if it is not encrypted.

        Raises:
            VirtfleetError: timeout, when it was broken off; the domain goes on here.
        """
        domain = self._ask(f"reading domain {name}", lambda: self._existing(name))
        if limits.downtime_ms is not None:
            self._ask("limiting the downtime", lambda: domain.migrateSetMaxDowntime(limits.downtime_ms))
        job = _Job(lambda: domain.migrateToURI3(uri, _parameters(address, limits), _flags(limits)))
        progress: dict[str, Any] = {}
        post_copy = False
        while not job.ended(_POLL_SECONDS):
            progress = self._progress(domain) or progress
            if limits.post_copy and not post_copy and progress.get("passes", 0) > 1:
                post_copy = self._try(domain.migrateStartPostCopy)
            elif job.seconds > limits.seconds + _ABORT_SECONDS:
                raise _endless(name, limits.seconds)
            elif job.seconds > limits.seconds and not post_copy:
                # Asked again where libvirt had not begun yet.
                self._try(domain.abortJob)
        if job.error is not None and job.seconds > limits.seconds:
            raise _broken_off(name, limits.seconds)
        self._ask(f"moving domain {name}", job.result)
        return progress | {"seconds": round(job.seconds, 1), "post_copy": post_copy}

    def _progress(self, domain: Any) -> dict[str, Any]:
        """How far the move is; nothing while libvirt has not begun or is at its end."""
        try:
            job = within(_POLL_SECONDS * 25, domain.jobStats)
        except (libvirt.libvirtError, Overdue):
            return {}
        if "memory_total" not in job:
            return {}
        return {
            "total_mib": job["memory_total"] // MIB,
            "sent_mib": job.get("memory_processed", 0) // MIB,
            "remaining_mib": job.get("memory_remaining", 0) // MIB,
            "passes": job.get("memory_iteration", 0),
        }

    def _try(self, call: Callable[[], Any]) -> bool:
        """Whether libvirt did it; where it refuses, the loop around it goes on."""
        try:
            within(_ABORT_SECONDS, call)
        except (libvirt.libvirtError, Overdue):
            return False
        return True


def _common_flags() -> int:
    """The source's libvirt talks to the target's; at the end the domain is defined there, and not here any more."""
    return int(libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE)


def _flags(limits: Limits) -> int:
    flags = _common_flags() | libvirt.VIR_MIGRATE_LIVE
    if limits.encrypted:
        flags |= libvirt.VIR_MIGRATE_TUNNELLED
    if limits.auto_converge:
        flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
    if limits.post_copy:
        flags |= libvirt.VIR_MIGRATE_POSTCOPY
    return int(flags)


def _parameters(address: str, limits: Limits) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if limits.bandwidth_mib:
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = limits.bandwidth_mib
    if not limits.encrypted:
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = memory_uri(address)
        # QEMU listens on all addresses of the target otherwise.
        parameters[libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS] = address
    return parameters


def _broken_off(name: str, seconds: int) -> VirtfleetError:
    return VirtfleetError(
        "timeout",
        f"Domain {name} was not moved within {seconds} s, so that was broken off",
        "Give it more time (timeout), slow its guest down (auto_converge=true), or move it when it does less.",
    )


def _endless(name: str, seconds: int) -> Unreachable:
    return Unreachable(
        f"libvirt has neither moved {name} within {seconds} s nor broken that off within {_ABORT_SECONDS} s more",
        "Check libvirtd on both nodes, and run again: where the VM is will be found out.",
    )


class _Job:
    """A call that is running in a thread of its own; libvirt's bindings let others run meanwhile."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.error: BaseException | None = None
        self._call = call
        self._begin = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # raised by result
            self.error = error

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begin

    def ended(self, seconds: float) -> bool:
        """Whether it has ended, after waiting for that so long at most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> None:
        if self.error is not None:
            raise self.error
