# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A guest that may have been frozen is thawed, whatever libvirt and its agent answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import hypervisor, hypervisor_freeze
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError

TIMEOUT, UNRESPONSIVE, UNSUPPORTED, INVALID, REFUSED, BROKEN = range(1, 7)


class LibvirtError(Exception):
    def get_error_code(self) -> int:
        return int(self.args[0])


class Guest:
    """A domain: each command takes the next answer, None for done, a code, or BROKEN for a connection that is lost."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.commands: list[str] = []
        self.active = True
        self.alive = True
        self.connections = 0

    def lookupByName(self, name: str) -> Guest:
        if not self.alive:
            raise LibvirtError(BROKEN)
        return self

    def isAlive(self) -> bool:
        return self.alive

    def isActive(self) -> bool:
        return self.active

    def close(self) -> None:
        pass

    def agentSetResponseTimeout(self, seconds: int) -> None:
        pass

    def _command(self, what: str) -> None:
        self.commands.append(what)
        answer = self.answers.pop(0)
        if answer == BROKEN:
            self.alive = False
        if answer is not None:
            raise LibvirtError(answer)

    def fsFreeze(self) -> None:
        self._command("freeze")

    def fsThaw(self) -> None:
        self._command("thaw")


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Guest:
    guest = Guest()

    def connect(_uri: str) -> Guest:
        guest.connections += 1
        guest.alive = True
        return guest

    library = SimpleNamespace(
        libvirtError=LibvirtError,
        open=connect,
        registerErrorHandler=lambda *_unused: None,
        VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK=-2,
        VIR_ERR_AGENT_COMMAND_TIMEOUT=TIMEOUT,
        VIR_ERR_ARGUMENT_UNSUPPORTED=UNSUPPORTED,
        VIR_ERR_OPERATION_INVALID=INVALID,
    )
    for module in (hypervisor, hypervisor_freeze):
        monkeypatch.setattr(module, "libvirt", library, raising=False)
    monkeypatch.setattr(hypervisor, "HAS_LIBVIRT", True)
    monkeypatch.setattr(hypervisor_freeze, "_POLL_SECONDS", 0)
    monkeypatch.setattr(hypervisor_freeze, "_RELEASE_SECONDS", 0.2)
    return guest


@pytest.mark.parametrize(
    ("answers", "frozen", "commands"),
    [
        ([None], True, ["freeze"]),
        ([UNSUPPORTED], False, ["freeze"]),
        ([INVALID], False, ["freeze"]),
        ([UNRESPONSIVE, UNRESPONSIVE], False, ["freeze", "thaw"]),
        ([REFUSED, None], False, ["freeze", "thaw"]),
        ([TIMEOUT, UNRESPONSIVE, TIMEOUT, None], False, ["freeze", "thaw", "thaw", "thaw"]),
    ],
)
def test_what_may_be_frozen_is_thawed(
    guest: Guest, answers: list[int | None], frozen: bool, commands: list[str]
) -> None:
    guest.answers = answers
    with hypervisor_freeze.FreezingHypervisor("qemu:///system") as adapter:
        assert adapter.freeze("a") is frozen
    assert guest.commands == commands


def test_a_guest_is_thawed_over_a_new_connection_when_the_old_one_breaks(guest: Guest) -> None:
    guest.answers = [None, None]
    with hypervisor_freeze.FreezingHypervisor("qemu:///system") as adapter:
        assert adapter.freeze("a")
        guest.alive = False
        adapter.thaw("a")
    assert guest.connections == 2 and guest.commands == ["freeze", "thaw"]


def test_a_connection_that_breaks_while_it_freezes_leaves_the_guest_thawed(guest: Guest) -> None:
    guest.answers = [BROKEN, None]
    with hypervisor_freeze.FreezingHypervisor("qemu:///system") as adapter:
        assert not adapter.freeze("a")
    assert guest.connections == 2 and guest.commands == ["freeze", "thaw"]


def test_a_guest_that_is_off_needs_no_thaw(guest: Guest) -> None:
    guest.answers, guest.active = [INVALID], False
    with hypervisor_freeze.FreezingHypervisor("qemu:///system") as adapter:
        adapter.thaw("a")


def test_a_guest_that_stays_frozen_is_an_error_that_says_what_to_do(guest: Guest) -> None:
    guest.answers = [UNRESPONSIVE] * 1_000_000
    with hypervisor_freeze.FreezingHypervisor("qemu:///system") as adapter:
        with pytest.raises(VirtfleetError) as caught:
            adapter.thaw("a")
    assert caught.value.code == "timeout" and "virsh domfsthaw a" in caught.value.hint
