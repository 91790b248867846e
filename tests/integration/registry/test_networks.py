# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces of VMs in the registry: what is reserved, and what nobody else can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict, Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

Sql = Callable[[str], Any]

STATIC = {"bridge": "br0", "vlan": 20, "mac": "52:54:00:aa:bb:cc", "address": "192.0.2.5/24"}


def _claim(registry: Registry, name: str, *networks: dict[str, Any]) -> Claim:
    request = {"name": name, "networks": list(networks)} if networks else {"name": name}
    return registry.claim_new(parse_request(request), "ann@desk", 60)


def _make(registry: Registry, name: str, *networks: dict[str, Any]) -> Claim:
    claim = _claim(registry, name, *networks)
    registry.record(Record(name, claim.lease or "", "running"), "ann@desk")
    return claim


def test_each_interface_has_a_mac_and_the_first_is_that_of_the_vm(registry: Registry) -> None:
    vm = _claim(registry, "a", {}, {"network": "lan"}).vm
    macs = [nic["mac"] for nic in vm["networks"]]
    assert len(set(macs)) == 2 and vm["mac"] == macs[0]
    assert [nic.get("network") for nic in vm["networks"]] == [None, "lan"]


def test_a_static_address_is_known_before_the_vm_is_there(registry: Registry) -> None:
    vm = _claim(registry, "a", STATIC, {"address": "198.51.100.7/24"}).vm
    assert (vm["ip"], vm["mac"]) == ("192.0.2.5", "52:54:00:aa:bb:cc")


def test_it_stays_where_the_vm_moves_and_comes_back_with_it(registry: Registry) -> None:
    claim = _make(registry, "a", STATIC)
    moved = registry.claim_move("a", "n2" if claim.node["name"] == "n1" else "n1", "ann@desk", 60)
    record = Record("a", moved.lease or "", "running", node=moved.target["name"] if moved.target else "")
    vm, _change = registry.record(record, "ann@desk")
    lease = registry.claim_existing("a", "delete", "ann@desk", 60).lease
    registry.forget("a", lease or "", "ann@desk")
    assert [vm["ip"], registry.claim_deleted("a", "ann@desk", 60).vm["ip"]] == ["192.0.2.5", "192.0.2.5"]


def test_nobody_else_gets_the_mac_or_the_address(registry: Registry) -> None:
    _make(registry, "a", {}, STATIC)
    with pytest.raises(Invalid) as refused:
        _claim(registry, "b", STATIC)
    assert refused.value.problems == (
        "networks: mac 52:54:00:aa:bb:cc is that of VM a", "networks: address 192.0.2.5 is that of VM a",
    )  # fmt: skip
    # The same address in another VLAN is another one.
    assert _claim(registry, "b", {**STATIC, "mac": None, "vlan": 21}).needed


def test_a_mac_of_a_vm_from_before_there_were_several_is_known(registry: Registry, sql: Sql) -> None:
    mac = _make(registry, "a").vm["mac"]
    sql("UPDATE vm SET spec = spec - 'networks'")
    assert registry.vms({"name": "a"})[0]["networks"] == [{"mac": mac}]
    with pytest.raises(Invalid, match="is that of VM a"):
        _claim(registry, "b", {"mac": mac})


def test_asked_for_again_only_what_was_given_counts(registry: Registry) -> None:
    _make(registry, "a", {"network": "lan"}, STATIC)
    assert not _claim(registry, "a", {"network": "lan"}, STATIC).needed
    assert not _claim(registry, "a").needed
    with pytest.raises(Conflict, match="networks is"):
        _claim(registry, "a", {"network": "lan"}, {**STATIC, "vlan": 21})
    with pytest.raises(Conflict, match="networks is"):
        _claim(registry, "a", {"network": "lan"})
