# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest is set up with: interfaces with static addresses, a seed that is wiped, another that is locked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from .conftest import Lab

pytestmark = pytest.mark.slow

NAME = "set-up"
NODE = "node-1"
BRIDGE = "br-test"
FIRST, SECOND = "canary-first-4b1e", "canary-second-9d0c"
READ_SEED = "sudo mount -o ro /dev/sr0 /mnt && sudo cat /mnt/user-data /mnt/meta-data; sudo umount /mnt"


@dataclass(frozen=True)
class Vm:
    """The VM that all tests are about, and its interfaces as they were asked for."""

    name: str
    networks: list[dict[str, Any]]


@pytest.fixture(scope="module")
def vm(lab: Lab) -> Iterator[Vm]:
    """It was made with a secret, and waited for until it was set up; the bridge is there as long as it is."""
    found = re.search(r"ip address='([0-9.]+)\.1'", lab.on(NODE, "virsh", "net-dumpxml", "default"))
    assert found
    subnet = found[1]
    networks: list[dict[str, Any]] = [
        {"address": f"{subnet}.5/24", "gateway": f"{subnet}.1", "dns": [f"{subnet}.1"], "search": ["example.org"]},
        {"bridge": BRIDGE, "mac": "52:54:00:aa:bb:cc", "address": "198.51.100.7/24"},
    ]
    wanted: dict[str, Any] = {"name": NAME, "node": NODE, "ram": 384, "disk": 5, "networks": networks}
    wanted["commands"] = [f"echo {FIRST} > /root/secret"]
    lab.on(NODE, "ip", "link", "add", BRIDGE, "up", "type", "bridge")
    try:
        made = lab.play("playbooks/create_vm.yml", **wanted)
        assert made.ok, made.output
        # Before it has booted.
        assert (
            lab.sql(f"SELECT host(ip) FROM virtfleet.vm WHERE name = '{NAME}' AND state = 'running'") == f"{subnet}.5"
        )
        sealed = lab.play("playbooks/create_vm.yml", seed_after_boot="wipe", **wanted)
        assert sealed.ok, sealed.output
        yield Vm(NAME, networks)
    finally:
        lab.play("playbooks/delete_vm.yml", name=NAME, purge=True, force=True)
        lab.on(NODE, "ip", "link", "delete", BRIDGE)


def seed(lab: Lab) -> str:
    """What of the seed volume is text."""
    volume = f"libvirt-pool/{NAME}.seed"
    return lab.on(NODE, "sh", "-c", f"rbd --id libvirt export --no-progress {volume} - | tr -cd '[:print:]'")


def test_the_guest_has_its_addresses_its_way_out_and_its_search_domain(lab: Lab, vm: Vm) -> None:
    addresses = lab.guest(vm.name, "ip -4 -oneline address")
    assert all(nic["address"] in addresses for nic in vm.networks)
    assert f"via {vm.networks[0]['gateway']}" in lab.guest(vm.name, "ip route show default")
    assert "example.org" in lab.guest(vm.name, "resolvectl || cat /etc/resolv.conf")
    assert BRIDGE in lab.on(NODE, "virsh", "domiflist", vm.name)


def test_what_the_node_has_not_and_what_another_has_is_refused(lab: Lab, vm: Vm) -> None:
    taken = lab.play("playbooks/create_vm.yml", name="other", networks=[vm.networks[1]])
    assert not taken.ok and f"mac 52:54:00:aa:bb:cc is that of VM {vm.name}" in taken.output
    assert f"address 198.51.100.7 is that of VM {vm.name}" in taken.output
    missing = lab.play("playbooks/create_vm.yml", name="other", node=NODE, disk=5, networks=[{"bridge": "br-none"}])
    assert not missing.ok and "there is no bridge br-none" in missing.output, missing.output
    assert not [name for name in lab.on(NODE, "rbd", "ls", "libvirt-pool").split() if name.startswith("other.")]
    assert lab.play("playbooks/delete_vm.yml", name="other", purge=True).ok


def test_a_wiped_seed_says_only_who_the_guest_is(lab: Lab, vm: Vm) -> None:
    assert lab.guest(vm.name, "sudo cat /root/secret").strip() == FIRST
    assert FIRST not in seed(lab) and f'"local-hostname": "{vm.name}"' in seed(lab)
    shown = lab.guest(vm.name, READ_SEED)
    assert FIRST not in shown and vm.name in shown
    again = lab.play("playbooks/seal_seed.yml", name=vm.name)
    assert again.ok and again.unchanged, again.output


def test_another_seed_needs_what_nobody_kept(lab: Lab, vm: Vm) -> None:
    refused = lab.play("playbooks/reseed_vm.yml", name=vm.name, guest_user="other")
    assert not refused.ok and "were not given again" in refused.output
    differs = lab.play("playbooks/create_vm.yml", name=vm.name, commands=["true"])
    assert not differs.ok and "user_data differs" in differs.output and "reseed_vm.yml" in differs.output


def test_another_seed_sets_the_guest_up_anew(lab: Lab, vm: Vm) -> None:
    host_key = lab.guest(vm.name, "cat /etc/ssh/ssh_host_ed25519_key.pub")
    wanted: dict[str, Any] = {"name": vm.name, "commands": [f"echo {SECOND} > /root/secret"]}
    check = lab.play("playbooks/reseed_vm.yml", "--check", **wanted)
    assert check.ok and f"write_seed {vm.name}.seed" in check.output
    given = lab.play("playbooks/reseed_vm.yml", allow_power_cycle=True, **wanted)
    assert given.ok, given.output
    again = lab.play("playbooks/reseed_vm.yml", allow_power_cycle=True, **wanted)
    assert again.ok and again.unchanged, again.output
    sealed = lab.play("playbooks/seal_seed.yml", name=vm.name, how="lock")
    assert sealed.ok, sealed.output
    assert lab.guest(vm.name, "sudo cat /root/secret").strip() == SECOND
    assert lab.guest(vm.name, "cat /etc/ssh/ssh_host_ed25519_key.pub") != host_key
    history = lab.sql(
        "SELECT string_agg(action, ' ' ORDER BY event.id) FROM virtfleet.event JOIN virtfleet.vm ON vm = vm.id"
        f" WHERE name = '{vm.name}' AND state <> 'deleted' AND action IN ('reseed', 'seal')"
    )
    assert history == "seal reseed seal"


def test_a_locked_seed_is_there_and_out_of_the_guests_reach(lab: Lab, vm: Vm) -> None:
    assert SECOND in seed(lab)
    shown = lab.guest(vm.name, f"{{ {READ_SEED}; }} 2>&1 || true")
    assert SECOND not in shown and "/dev/sr0" in shown and "local-hostname" not in shown
