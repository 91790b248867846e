# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the adapter for libvirt promises."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.domain_xml import (
    hardware,
    mac_addresses,
    owned_metadata,
)
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError

from .conftest import Host


def state(host: Host) -> str | None:
    domain = host.adapter.domain(host.name)
    return None if domain is None else str(domain.state)


def test_a_domain_that_is_not_there_is_none(host: Host) -> None:
    assert host.adapter.domain(host.name) is None
    assert host.name not in host.adapter.domains()


def test_a_defined_domain_is_stopped_and_ours(host: Host) -> None:
    host.adapter.define(host.xml)
    for domain in (host.adapter.domain(host.name), host.adapter.domains()[host.name]):
        assert (domain.uuid, domain.state, domain.owned_id) == (host.vm_id, "stopped", host.vm_id)


def test_a_domain_without_our_mark_is_not_ours(host: Host) -> None:
    host.adapter.define(re.sub("<metadata>.*</metadata>", "", host.xml))
    assert host.adapter.domain(host.name).owned_id is None


def test_the_definition_of_a_domain_says_what_it_was_made_of(host: Host) -> None:
    host.adapter.define(host.xml)
    for running in (False, True):
        definition = host.adapter.definition(host.name)
        assert hardware(definition) == hardware(host.xml) and mac_addresses(definition) == mac_addresses(host.xml)
        owned = owned_metadata(definition)
        assert owned is not None and owned.id == host.vm_id
        if not running:
            host.adapter.start(host.name)


def test_the_power_of_a_domain(host: Host) -> None:
    host.adapter.define(host.xml)
    seen = []
    for action in (host.adapter.start, host.adapter.suspend, host.adapter.resume, host.adapter.power_off):
        action(host.name)
        seen.append(state(host))
    assert seen == ["running", "suspended", "running", "stopped"]
    host.adapter.power_off(host.name)
    host.adapter.undefine(host.name)
    assert state(host) is None


def test_a_domain_starts_with_the_monitors_that_there_are(host: Host) -> None:
    def found(xml: str) -> set[tuple[str, int]]:
        return {(name, int(port)) for name, port in re.findall("<host name=['\"](.+?)['\"] port=['\"](.+?)['\"]", xml)}

    former = re.sub("<host [^>]*>", "", host.xml).replace("<auth ", '<host name="192.0.2.1" port="6789" /><auth ')
    host.adapter.define(former)
    assert found(host.adapter.definition(host.name)) == {("192.0.2.1", 6789)}
    host.adapter.start(host.name, host.monitors)
    assert state(host) == "running"
    assert found(host.adapter.definition(host.name)) == set(host.monitors)


def test_what_the_state_does_not_allow_is_an_error(host: Host) -> None:
    host.adapter.define(host.xml)
    for action in (host.adapter.suspend, host.adapter.resume):
        with pytest.raises(VirtfleetError):
            action(host.name)
    host.adapter.start(host.name)
    with pytest.raises(VirtfleetError):
        host.adapter.start(host.name)


def test_a_shutdown_says_whether_the_guest_obeyed(host: Host) -> None:
    host.adapter.define(host.xml)
    host.adapter.start(host.name)
    assert host.adapter.shut_down(host.name, 1) is host.guest_obeys
    assert state(host) == ("stopped" if host.guest_obeys else "running")


def test_a_stopped_domain_has_no_address(host: Host) -> None:
    host.adapter.define(host.xml)
    assert host.adapter.address(host.name) is None


def test_acting_on_a_domain_that_is_not_there_is_an_error(host: Host) -> None:
    adapter = host.adapter
    actions: list[Callable[[str], object]] = [
        adapter.start, adapter.resume, adapter.suspend, adapter.power_off, adapter.undefine, adapter.address,
        lambda name: adapter.shut_down(name, 1),
    ]  # fmt: skip
    for action in actions:
        with pytest.raises(VirtfleetError):
            action(host.name)


def test_a_node_has_capacity(host: Host) -> None:
    capacity = host.adapter.capacity()
    assert capacity["vcpus"] > 0 and capacity["memory_mib"] > 0
