# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for libvirt: the domains of one node."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from .deadline import Overdue, within
from .domain_xml import (
    Monitors,
    disk_element,
    hardware,
    mac_addresses,
    owned_metadata,
    volumes,
    with_hardware,
    with_monitors,
)
from .errors import Backend, Unreachable
from .plan_types import DomainFacts, DomainView, Hardware, Link

try:
    import libvirt
except ImportError:
    HAS_LIBVIRT = False
else:
    HAS_LIBVIRT = True

_HINT = "Check 'systemctl status libvirtd' and the journal on the node."
_POLL_SECONDS = 0.5
# libvirt's client waits for an answer for ever, so that every call gets a limit here.
_CONNECT_SECONDS = 10
_CALL_SECONDS = 60
_DETACH_SECONDS = 20
_TAGS_VLANS = 11_000_000  # https://libvirt.org/formatdomain.html#setting-vlan-tag-on-supported-network-types-only


class Hypervisor:
    """One connection to libvirt. Use as a context manager.

    Raises (every method):
        Unreachable: libvirt does not answer, or not in time; nothing is known about what is there.
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
        self._uri = uri
        self._answers = True
        try:
            self._connection: Any = within(_CONNECT_SECONDS, lambda: libvirt.open(uri))
        except Overdue:
            raise self._silent("connecting", _CONNECT_SECONDS) from None
        except libvirt.libvirtError as error:
            raise Unreachable(f"libvirt at {uri} does not answer: {error}", _HINT) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        # Closing asks the daemon too: one that is silent is left alone.
        if self._answers:
            self._ask("closing the connection", self._connection.close)

    def domain(self, name: str) -> DomainFacts | None:
        """The domain of this name, or None when libvirt answered that it has none."""

        def read() -> DomainFacts | None:
            domain = self._lookup(name)
            return None if domain is None else _facts(domain)

        return self._ask(f"reading domain {name}", read)

    def domains(self) -> dict[str, DomainFacts]:
        """Every domain of the node, by name."""
        return self._ask(
            "listing the domains",
            lambda: {domain.name(): _facts(domain) for domain in self._connection.listAllDomains()},
        )

    def definition(self, name: str) -> str:
        """The XML of a domain as it is at its next start."""
        inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
        return str(self._ask(f"reading domain {name}", lambda: self._existing(name).XMLDesc(inactive)))

    def capacity(self) -> dict[str, int]:
        """vcpus and memory_mib of the node as libvirt sees it."""
        info = self._ask("reading the node's capacity", self._connection.getInfo)
        return {"vcpus": int(info[2]), "memory_mib": int(info[1])}

    def links(self) -> frozenset[Link]:
        """What the node's VMs can be connected to: its active networks, and its bridges."""
        active = libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE
        networks = self._ask(
            "listing the networks",
            lambda: [network.name() for network in self._connection.listAllNetworks(active)],
        )
        bridges = [path.parent.name for path in Path("/sys/class/net").glob("*/bridge")]
        return frozenset([*(("network", name) for name in networks), *(("bridge", name) for name in bridges)])

    def tags_vlans(self) -> bool:
        """Whether this libvirt puts an interface on a Linux bridge into a VLAN."""
        version = self._ask("reading libvirt's version", self._connection.getLibVersion)
        return bool(version >= _TAGS_VLANS)

    def define(self, xml: str) -> None:
        self._ask("defining the domain", lambda: self._connection.defineXML(xml))

    def start(self, name: str, monitors: Monitors = ()) -> None:
        """Start a domain that is off.

        Args:
            monitors: of Ceph today. Its disks are led to them, as those of the day when it was defined may all be gone.
        """

        def start() -> None:
            domain = self._existing(name)
            definition = _whole(domain)
            led = with_monitors(definition, monitors) if monitors else definition
            if led != definition:
                domain = self._connection.defineXML(led)
            domain.create()

        self._ask(f"starting domain {name}", start)

    def resume(self, name: str) -> None:
        self._ask(f"resuming domain {name}", lambda: self._existing(name).resume())

    def suspend(self, name: str) -> None:
        self._ask(f"suspending domain {name}", lambda: self._existing(name).suspend())

    def power_off(self, name: str) -> None:
        """Cut the power; a domain that is off stays off."""

        def cut() -> None:
            domain = self._existing(name)
            if domain.isActive():
                _unless_off(domain, domain.destroy)

        self._ask(f"powering off domain {name}", cut)

    def shut_down(self, name: str, seconds: int) -> bool:
        """Ask the guest to shut down; True when it did within the time."""
        doing = f"shutting down domain {name}"
        domain = self._ask(doing, lambda: self._existing(name))
        self._ask(doing, lambda: _unless_off(domain, domain.shutdown))
        return _wait(lambda: not self._ask(doing, domain.isActive), seconds)

    def shut_down_or_power_off(self, name: str, seconds: int) -> None:
        """Ask the guest to shut down, and cut its power where it does not within the time."""
        if not self.shut_down(name, seconds):
            self.power_off(name)

    def undefine(self, name: str) -> None:
        """Take the definition away, with a saved memory image and what libvirt knows of snapshots."""
        flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        self._ask(f"undefining domain {name}", lambda: self._existing(name).undefineFlags(flags))

    def redefine(self, name: str, wanted: Hardware, request_sha256: str) -> None:
        """Give the definition other memory and virtual CPUs; a running domain has them from its next start."""

        def change() -> None:
            self._connection.defineXML(with_hardware(_whole(self._existing(name)), wanted, request_sha256))

        self._ask(f"changing the definition of domain {name}", change)

    def set_memory(self, name: str, memory_mib: int) -> None:
        """Give a running domain more or less memory, up to its maximum."""
        self._ask(
            f"setting the memory of domain {name}",
            lambda: self._existing(name).setMemoryFlags(memory_mib * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE),
        )

    def set_vcpus(self, name: str, count: int) -> None:
        """Give a running domain more virtual CPUs, up to its maximum."""
        self._ask(
            f"setting the virtual CPUs of domain {name}",
            lambda: self._existing(name).setVcpusFlags(count, libvirt.VIR_DOMAIN_AFFECT_LIVE),
        )

    def grow_online(self, name: str, volume: str, size_bytes: int) -> None:
        """Grow a volume that a running domain has open, so that its guest sees it."""

        def grow() -> None:
            domain = self._existing(name)
            target = volumes(domain.XMLDesc())[volume]
            domain.blockResize(target, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

        self._ask(f"growing volume {volume} of domain {name}", grow)

    def attach(self, name: str, disk: Callable[[str], str], defined: bool, live: bool) -> None:
        """Attach a disk to the definition, to the running domain, or to both.

        Args:
            disk: makes the XML of the disk, from that of the domain.
        """

        def attach() -> None:
            domain = self._existing(name)
            domain.attachDeviceFlags(disk(domain.XMLDesc()), affect(defined, live))

        self._ask(f"attaching a disk to domain {name}", attach)

    def detach(self, name: str, volume: str, defined: bool, live: bool) -> bool:
        """Detach the disk on a volume; False when the guest did not let go of it in time."""
        doing = f"detaching {volume} from domain {name}"
        domain = self._ask(doing, lambda: self._existing(name))
        if live:
            element = self._ask(doing, lambda: disk_element(domain.XMLDesc(), volume))
            self._ask(doing, lambda: domain.detachDeviceFlags(element, libvirt.VIR_DOMAIN_AFFECT_LIVE))
            if not _wait(lambda: volume not in self._ask(doing, lambda: volumes(domain.XMLDesc())), _DETACH_SECONDS):
                return False
        if defined:
            inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
            element = self._ask(doing, lambda: disk_element(domain.XMLDesc(inactive), volume))
            self._ask(doing, lambda: domain.detachDeviceFlags(element, libvirt.VIR_DOMAIN_AFFECT_CONFIG))
        return True

    def address(self, name: str) -> str | None:
        """The first global IPv4 address of the guest's first interface; None while it has none.

        The DHCP lease tells it, else the guest agent.
        """

        def read() -> str | None:
            domain = self._existing(name)
            if not domain.isActive():
                return None
            macs = mac_addresses(domain.XMLDesc())[:1]
            sources = (
                libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
                libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
            )
            found = (_first_address(_interfaces(domain, source), macs) for source in sources)
            return next((address for address in found if address), None)

        return self._ask(f"reading the address of domain {name}", read)

    def _ask(self, doing: str, call: Callable[[], Any]) -> Any:
        """Call libvirt, within the limit, with its errors turned into ours."""
        try:
            return within(_CALL_SECONDS, call)
        except Overdue:
            raise self._silent(doing, _CALL_SECONDS) from None
        except libvirt.libvirtError as error:
            raise Backend(f"libvirt failed while {doing}: {error}", "See the node's journal and run again.") from None

    def _silent(self, doing: str, seconds: int) -> Unreachable:
        self._answers = False
        return Unreachable(f"libvirt at {self._uri} did not answer within {seconds} s while {doing}", _HINT)

    def _lookup(self, name: str) -> Any | None:
        try:
            return self._connection.lookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _existing(self, name: str) -> Any:
        return self._connection.lookupByName(name)


def _whole(domain: Any) -> str:
    """Its definition, to be defined again with a change."""
    return str(
        domain.XMLDesc(
            libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE
        )
    )


def _facts(domain: Any) -> DomainFacts:
    state = _state_name(domain.state()[0])
    definition = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    owned = owned_metadata(definition)
    live = None if state == "stopped" else _view(domain.XMLDesc())
    return DomainFacts(domain.UUIDString(), state, owned.id if owned else None, _view(definition), live)


def _unless_off(domain: Any, act: Callable[[], Any]) -> None:
    """Act on a domain; one that went off by itself in this moment is where it was to go."""
    try:
        act()
    except libvirt.libvirtError:
        if domain.isActive():
            raise


def affect(defined: bool, live: bool) -> int:
    """libvirt's flags for a change of the definition, of the running domain, or of both."""
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG if defined else 0
    return int(config | (libvirt.VIR_DOMAIN_AFFECT_LIVE if live else 0))


def _view(xml: str) -> DomainView:
    return DomainView(hardware(xml), volumes(xml))


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
