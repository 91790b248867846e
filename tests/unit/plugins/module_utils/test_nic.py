# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a VM's network interfaces."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.nic import Nic, parse_nics
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request


def test_a_vm_that_asks_for_nothing_has_one_interface() -> None:
    assert parse_request({"name": "a"}).nics == (Nic(),)
    assert parse_request({"name": "a", "networks": []}).nics == (Nic(),)


def test_what_was_asked_for_is_read_and_shown_the_same() -> None:
    asked = [
        {
            "bridge": "br0", "vlan": 20, "mac": "52:54:00:aa:bb:cc", "address": "192.0.2.5/24", "gateway": "192.0.2.1",
            "dns": ["192.0.2.53", "2001:db8::53"], "search": ["example.org"],
        },
        {"network": "lan"},
    ]  # fmt: skip
    nics = parse_nics(asked)
    assert [nic.as_dict() for nic in nics] == asked
    assert [nic.link for nic in nics] == [("bridge", "br0"), ("network", "lan")]
    assert [nic.ip for nic in nics] == ["192.0.2.5", None]


def test_numbers_and_capitals_are_taken_as_they_are_typed() -> None:
    (nic,) = parse_nics([{"bridge": "br0", "vlan": "20", "mac": "52:54:00:AA:BB:CC", "dns": "192.0.2.53"}])
    assert (nic.vlan, nic.mac, nic.dns) == (20, "52:54:00:aa:bb:cc", ("192.0.2.53",))


@pytest.mark.parametrize(
    ("networks", "problem"),
    [
        ("default", "networks is not a list of mappings"),
        (["default"], "networks is not a list of mappings"),
        ([{"netwrok": "a"}], "networks: 1: there is no netwrok"),
        ([{"network": "a b"}], "networks: 1: network 'a b' is not the name of a libvirt network"),
        ([{"bridge": "a-name-that-is-too-long"}], "is not the name of a bridge"),
        ([{"network": "a", "bridge": "b"}], "networks: 1: network and bridge are two ways to say it; give one"),
        ([{}, {"vlan": 5}], "networks: 2: vlan needs a bridge"),
        ([{"bridge": "b", "vlan": 4095}], "networks: 1: vlan 4095 is not a whole number from 1 to 4094"),
        ([{"mac": "53:54:00:00:00:01"}], "is not the MAC address of one interface"),
        ([{"mac": "52:54:00:00:01"}], "is not the MAC address of one interface"),
        ([{"address": "192.0.2.5"}], "networks: 1: address '192.0.2.5' is not an address with its prefix length"),
        ([{"address": "192.0.2.0/24"}], "networks: 1: address 192.0.2.0/24 is that of the network itself"),
        ([{"address": "192.0.2.300/24"}], "is not an address with its prefix length"),
        ([{"gateway": "192.0.2.1"}], "networks: 1: gateway needs an address: by DHCP the network gives it"),
        ([{"address": "192.0.2.5/24", "gateway": "198.51.100.1"}], "is no other address of 192.0.2.0/24"),
        ([{"address": "192.0.2.5/24", "gateway": "192.0.2.5"}], "is no other address of 192.0.2.0/24"),
        ([{"dns": ["ns1.example.org"]}], "networks: 1: dns 'ns1.example.org' is not an IP address"),
        ([{"dns": 5}], "networks: 1: dns is not a list"),
        ([{"search": ["a b"]}], "networks: 1: search has 'a b', which is not a domain"),
        ([{"mac": "52:54:00:00:00:02"}] * 2, "networks: mac 52:54:00:00:00:02 is there twice"),
        ([{"address": "192.0.2.5/24"}, {"address": "192.0.2.5/25"}], "networks: address 192.0.2.5 is there twice"),
        (
            [{"address": f"192.0.{n}.5/24", "gateway": f"192.0.{n}.1"} for n in range(2)],
            "networks: more than one has a gateway",
        ),
        ([{}] * 9, "networks has 9 entries, more than 8"),
    ],
)
def test_interfaces_that_cannot_be(networks: Any, problem: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_nics(networks)
    assert problem in str(refused.value)
    with pytest.raises(Invalid, match="not a DNS label"):
        parse_request({"name": "A", "networks": networks})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        parse_nics([{"mac": "x", "address": "y", "vlan": "z"}])
    assert len(refused.value.problems) == 4
