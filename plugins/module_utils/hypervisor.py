# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for libvirt: the domains of one node."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .domain_xml import mac_addresses, owned_metadata
from .errors import Backend, Unreachable, VirtfleetError
from .plan import DomainFacts

try:
    import libvirt
except ImportError:
    HAS_LIBVIRT = False
else:
    HAS_LIBVIRT = True

_POLL_SECONDS = 0.5


class Hypervisor:
    """One connection to libvirt. Use as a context manager.

    Raises (every method):
        Unreachable: libvirt does not answer.
        Backend: libvirt answered with an error.
    """

    def __init__(self, uri: str) -> None:
        if not HAS_LIBVIRT:
            raise Backend(
                "The Python bindings of libvirt are not installed on this host",
                "Install python3-libvirt from the distribution (role libvirt does).",
            )
        # libvirt prints every error to stderr unless it is told not to.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        try:
            self._connection: Any = libvirt.open(uri)
        except libvirt.libvirtError as error:
            raise Unreachable(
                f"libvirt at {uri} does not answer: {error}", "Check 'systemctl status libvirtd' on the node."
            ) from None

    def __enter__(self) -> Hypervisor:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._connection.close()

    def domain(self, name: str) -> DomainFacts | None:
        """The domain of this name, or None when libvirt answered that it has none."""
        with _as_our_errors(f"reading domain {name}"):
            domain = self._lookup(name)
            return None if domain is None else _facts(domain)

    def domains(self) -> dict[str, DomainFacts]:
        """Every domain of the node, by name."""
        with _as_our_errors("listing the domains"):
            return {domain.name(): _facts(domain) for domain in self._connection.listAllDomains()}

    def capacity(self) -> dict[str, int]:
        """vcpus and memory_mib of the node as libvirt sees it."""
        with _as_our_errors("reading the node's capacity"):
            info = self._connection.getInfo()
            return {"vcpus": int(info[2]), "memory_mib": int(info[1])}

    def define(self, xml: str) -> None:
        with _as_our_errors("defining the domain"):
            self._connection.defineXML(xml)

    def start(self, name: str) -> None:
        with _as_our_errors(f"starting domain {name}"):
            self._existing(name).create()

    def resume(self, name: str) -> None:
        with _as_our_errors(f"resuming domain {name}"):
            self._existing(name).resume()

    def suspend(self, name: str) -> None:
        with _as_our_errors(f"suspending domain {name}"):
            self._existing(name).suspend()

    def power_off(self, name: str) -> None:
        with _as_our_errors(f"powering off domain {name}"):
            domain = self._existing(name)
            if domain.isActive():
                domain.destroy()

    def shut_down(self, name: str, seconds: int) -> bool:
        """Ask the guest to shut down; True when it did within the time."""
        with _as_our_errors(f"shutting down domain {name}"):
            domain = self._existing(name)
            domain.shutdown()
            return _wait(lambda: not domain.isActive(), seconds)

    def undefine(self, name: str) -> None:
        flags = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        )
        with _as_our_errors(f"undefining domain {name}"):
            self._existing(name).undefineFlags(flags)

    def address(self, name: str) -> str | None:
        """The guest's first global IPv4 address by DHCP lease, else by the guest agent; None while it has none."""
        with _as_our_errors(f"reading the address of domain {name}"):
            domain = self._existing(name)
            if not domain.isActive():
                return None
            macs = mac_addresses(domain.XMLDesc())
            sources = (
                libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
                libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
            )
            for source in sources:
                address = _first_address(_interfaces(domain, source), macs)
                if address:
                    return address
            return None

    def _lookup(self, name: str) -> Any | None:
        try:
            return self._connection.lookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _existing(self, name: str) -> Any:
        return self._connection.lookupByName(name)


def _facts(domain: Any) -> DomainFacts:
    state, _reason = domain.state()
    owned = owned_metadata(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    return DomainFacts(domain.UUIDString(), _state_name(state), owned.id if owned else None)


def _state_name(state: int) -> str:
    if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_NOSTATE):
        return "stopped"
    if state in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED):
        return "suspended"
    # Blocked and on its way down still hold the disks open.
    return "running"


def _interfaces(domain: Any, source: int) -> dict[str, Any]:
    try:
        return domain.interfaceAddresses(source) or {}
    except libvirt.libvirtError as error:
        not_yet = (
            libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
            libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
            libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
            libvirt.VIR_ERR_OPERATION_INVALID,
        )
        if error.get_error_code() in not_yet:
            return {}
        raise


def _first_address(interfaces: dict[str, Any], macs: tuple[str, ...]) -> str | None:
    for interface in interfaces.values():
        if interface.get("hwaddr") not in macs:
            continue
        for entry in interface.get("addrs") or []:
            address = ipaddress.ip_address(entry["addr"])
            if address.version == 4 and not address.is_link_local and not address.is_loopback:
                return str(address)
    return None


def _wait(condition: Callable[[], bool], seconds: int) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@contextmanager
def _as_our_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except VirtfleetError:
        raise
    except libvirt.libvirtError as error:
        raise Backend(f"libvirt failed while {doing}: {error}", "See the node's journal and run again.") from None
