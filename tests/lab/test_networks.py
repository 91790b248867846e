# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with two interfaces: a static address on the node's network, and another on a bridge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Lab

NAME = "networked"
BRIDGE = "br-test"
SECOND_ADDRESS = "198.51.100.7/24"


@pytest.fixture(scope="module")
def networks(lab: Lab) -> Iterator[list[dict[str, Any]]]:
    """Its interfaces; the bridge of the second is there for as long as the tests run."""
    found = re.search(r"ip address='([0-9.]+)\.1'", lab.on("node-1", "virsh", "net-dumpxml", "default"))
    assert found
    subnet = found[1]
    lab.on("node-1", "ip", "link", "add", BRIDGE, "up", "type", "bridge")
    try:
        yield [
            {"address": f"{subnet}.5/24", "gateway": f"{subnet}.1", "dns": [f"{subnet}.1"], "search": ["example.org"]},
            {"bridge": BRIDGE, "mac": "52:54:00:aa:bb:cc", "address": SECOND_ADDRESS},
        ]
    finally:
        lab.play("playbooks/delete_vm.yml", name=NAME, purge=True, force=True)
        lab.on("node-1", "ip", "link", "delete", BRIDGE)


def test_its_address_is_known_at_once_and_is_the_guests(lab: Lab, networks: list[dict[str, Any]]) -> None:
    wanted: dict[str, Any] = {"name": NAME, "node": "node-1", "ram": 384, "disk": 5, "networks": networks}
    made = lab.play("playbooks/create_vm.yml", **wanted)
    assert made.ok, made.output
    address = networks[0]["address"].partition("/")[0]
    assert lab.sql(f"SELECT host(ip) FROM virtfleet.vm WHERE name = '{NAME}' AND state = 'running'") == address
    again = lab.play("playbooks/create_vm.yml", **wanted)
    assert again.ok and again.unchanged, again.output
    addresses = lab.guest(NAME, "ip -4 -oneline address", tries=60)
    assert networks[0]["address"] in addresses and SECOND_ADDRESS in addresses
    assert f"via {networks[0]['gateway']}" in lab.guest(NAME, "ip route show default")
    assert BRIDGE in lab.on("node-1", "virsh", "domiflist", NAME)
    assert "example.org" in lab.guest(NAME, "resolvectl || cat /etc/resolv.conf")


def test_what_the_node_has_not_and_what_another_has_is_refused(lab: Lab, networks: list[dict[str, Any]]) -> None:
    taken = lab.play("playbooks/create_vm.yml", name="other", networks=[networks[1]])
    assert not taken.ok and f"mac 52:54:00:aa:bb:cc is that of VM {NAME}" in taken.output
    assert f"address 198.51.100.7 is that of VM {NAME}" in taken.output
    missing = lab.play("playbooks/create_vm.yml", name="other", node="node-1", disk=5, networks=[{"bridge": "br-none"}])
    assert not missing.ok and "there is no bridge br-none" in missing.output, missing.output
    assert "other" not in lab.on("node-1", "rbd", "--id", "libvirt", "ls", "libvirt-pool").split()
    assert lab.play("playbooks/delete_vm.yml", name="other", purge=True).ok
