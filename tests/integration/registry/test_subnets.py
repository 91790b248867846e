# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses out of subnets: given once, known before anything is made, and free again when the VM is gone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict, Invalid, VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request
from ansible_collections.virtfleet.cloud.plugins.module_utils.subnet import read_subnet

LAN = {
    "name": "lan", "cidr": "192.0.2.0/24", "bridge": "br0", "vlan": 20, "gateway": "192.0.2.1", "dns": ["192.0.2.53"],
    "search": ["example.org"], "first": "192.0.2.10", "last": "192.0.2.13", "reserved": ["192.0.2.11"],
}  # fmt: skip


def make(registry: Registry, name: str, **asked: Any) -> dict[str, Any]:
    claim = registry.claim_new(parse_request({"name": name, "ram": 64, **asked}), "ann@desk", 60)
    if claim.needed:
        registry.record(Record(name, claim.lease or "", "stopped"), "ann@desk")
    return claim.vm


def delete(registry: Registry, name: str) -> None:
    registry.forget(name, registry.claim_existing(name, "delete", "ann@desk", 60).lease or "", "ann@desk")


@pytest.fixture
def lan(registry: Registry) -> Registry:
    assert registry.put_subnet(read_subnet(LAN)).changed
    assert not registry.put_subnet(read_subnet(LAN)).changed
    return registry


def test_a_vm_has_all_that_its_subnet_says_before_it_is_made(lan: Registry) -> None:
    vm = make(lan, "a", ip="auto", subnet="lan")
    assert vm["ip"] == "192.0.2.10"
    assert vm["networks"] == [
        {
            "subnet": "lan", "bridge": "br0", "vlan": 20, "mac": vm["mac"], "address": "192.0.2.10/24",
            "gateway": "192.0.2.1", "dns": ["192.0.2.53"], "search": ["example.org"],
        }
    ]  # fmt: skip
    for again in ({}, {"ip": "auto", "subnet": "lan"}, {"ip": "192.0.2.10", "subnet": "lan"}):
        assert not lan.claim_new(parse_request({"name": "a", **again}), "ann@desk", 60).needed
    with pytest.raises(Conflict, match="networks is"):
        make(lan, "a", ip="192.0.2.12", subnet="lan")


def test_addresses_are_given_once_and_never_those_that_are_reserved(lan: Registry) -> None:
    given = [make(lan, name, ip="auto", subnet="lan")["ip"] for name in ("a", "b", "c")]
    assert given == ["192.0.2.10", "192.0.2.12", "192.0.2.13"]
    with pytest.raises(VirtfleetError, match="no free address") as full:
        make(lan, "d", ip="auto", subnet="lan")
    assert full.value.code == "no_capacity"
    # By name a reserved one can be had, and one outside of the range.
    assert make(lan, "d", ip="192.0.2.11", subnet="lan")["ip"] == "192.0.2.11"
    assert make(lan, "e", ip="192.0.2.200", subnet="lan")["ip"] == "192.0.2.200"
    with pytest.raises(Invalid, match=r"address 192\.0\.2\.11 is that of VM d"):
        make(lan, "f", ip="192.0.2.11", subnet="lan")
    delete(lan, "b")
    assert make(lan, "f", ip="auto", subnet="lan")["ip"] == "192.0.2.12"
    with pytest.raises(Conflict, match=r"address 192\.0\.2\.12 is that of VM f"):
        lan.claim_deleted("b", "ann@desk", 60)
    (subnet,) = lan.subnets()
    assert subnet["used"] == 5


def test_twenty_at_once_get_the_four_that_there_are(lan: Registry, settings: Settings) -> None:
    lan.put_subnet(read_subnet(LAN | {"reserved": []}))
    ready = threading.Barrier(20, timeout=30)

    def one(number: int) -> str:
        with Registry(settings, lambda _text: None) as registry:
            ready.wait()
            try:
                return str(make(registry, f"vm-{number}", ip="auto", subnet="lan")["ip"])
            except VirtfleetError as error:
                return error.code

    with ThreadPoolExecutor(20) as pool:
        outcome = sorted(pool.map(one, range(20)))
    assert outcome == sorted([f"192.0.2.{number}" for number in range(10, 14)] + ["no_capacity"] * 16)


def test_several_interfaces_in_one_subnet_and_the_gateway_of_the_first(lan: Registry) -> None:
    lan.put_subnet(read_subnet({"name": "storage", "cidr": "198.51.100.0/24", "gateway": "198.51.100.1"}))
    networks = [{"subnet": "lan"}, {"subnet": "lan", "address": "auto"}, {"subnet": "storage"}, {"network": "default"}]
    nics = make(lan, "a", networks=networks)["networks"]
    assert [nic.get("address") for nic in nics] == ["192.0.2.10/24", "192.0.2.12/24", "198.51.100.2/24", None]
    assert [nic.get("gateway") for nic in nics] == ["192.0.2.1", None, None, None]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"ip": "auto"}, "subnet default is none of lan"),
        ({"ip": "192.0.3.1", "subnet": "lan"}, "address 192.0.3.1 is none for hosts of subnet lan"),
        ({"ip": "192.0.2.1", "subnet": "lan"}, "address 192.0.2.1 is none for hosts of subnet lan"),
        ({"ip": "192.0.2.255", "subnet": "lan"}, "address 192.0.2.255 is none for hosts of subnet lan"),
        ({"ip": "nonsense", "subnet": "lan"}, "address 'nonsense' is not an address"),
        ({"networks": [{"address": "auto"}]}, "address auto needs a subnet"),
        ({"networks": [{}], "ip": "auto"}, "networks and ip with subnet are two ways to say it"),
    ],
)
def test_what_cannot_be_asked_for(lan: Registry, asked: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        make(lan, "a", **asked)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"cidr": "192.0.2.1/24"}, "cidr '192.0.2.1/24' is not a network like 192.0.2.0/24"),
        ({"cidr": "192.0.2.0/31"}, "cidr 192.0.2.0/31 has no addresses for hosts"),
        ({"gateway": "198.51.100.1"}, "gateway '198.51.100.1' is no address of 192.0.2.0/24"),
        ({"first": "192.0.2.20"}, "first 192.0.2.20 comes after last 192.0.2.13"),
        ({"last": "192.0.3.13"}, "last '192.0.3.13' is no address of 192.0.2.0/24"),
        ({"reserved": ["x"]}, "reserved 'x' is no address of 192.0.2.0/24"),
        ({"bridge": None}, "vlan needs a bridge"),
        ({"name": "A"}, "name 'A' is not a DNS label"),
    ],
)
def test_subnets_that_cannot_be(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_subnet(LAN | wrong)
    assert problem in str(caught.value)


def test_a_subnet_goes_when_nobody_is_in_it(lan: Registry) -> None:
    make(lan, "a", ip="auto", subnet="lan")
    with pytest.raises(Conflict, match="1 addresses of VMs"):
        lan.drop_subnet("lan")
    delete(lan, "a")
    assert lan.drop_subnet("lan").changed and not lan.drop_subnet("lan").changed
    assert lan.subnets() == []
