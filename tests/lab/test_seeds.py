# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest whose seed is wiped when it has booted, that is set up anew by another one, which then is taken away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import Lab

NAME = "seeded"
FIRST, SECOND = "canary-first-4b1e", "canary-second-9d0c"
MOUNT = "sudo mount -o ro /dev/sr0 /mnt && sudo cat /mnt/user-data /mnt/meta-data; sudo umount /mnt"


@pytest.fixture(scope="module")
def vm(lab: Lab) -> Iterator[str]:
    """A VM that was made with a secret, and waited for until it was set up."""
    made = lab.play(
        "playbooks/create_vm.yml",
        name=NAME,
        ram=384,
        disk=5,
        commands=[f"echo {FIRST} > /root/secret"],
        wait=True,
        seed_after_boot="wipe",
    )
    assert made.ok, made.output
    yield NAME
    lab.play("playbooks/delete_vm.yml", name=NAME, purge=True, force=True)


def seed(lab: Lab) -> str:
    """The bytes of the seed volume that are text."""
    volume = f"libvirt-pool/{NAME}.seed"
    return lab.on("node-1", "sh", "-c", f"rbd --id libvirt export --no-progress {volume} - | tr -cd '[:print:]'")


def test_a_wiped_seed_says_only_who_the_guest_is(lab: Lab, vm: str) -> None:
    assert lab.guest(vm, "sudo cat /root/secret").strip() == FIRST
    assert FIRST not in seed(lab) and f'"local-hostname": "{vm}"' in seed(lab)
    shown = lab.guest(vm, MOUNT)
    assert FIRST not in shown and vm in shown
    again = lab.play("playbooks/seal_seed.yml", name=vm)
    assert again.ok and again.unchanged, again.output


def test_another_seed_needs_what_nobody_kept(lab: Lab, vm: str) -> None:
    refused = lab.play("playbooks/reseed_vm.yml", name=vm, guest_user="other")
    assert not refused.ok and "were not given again" in refused.output
    differs = lab.play("playbooks/create_vm.yml", name=vm, commands=["true"])
    assert not differs.ok and "user_data differs" in differs.output and "reseed_vm.yml" in differs.output


def test_another_seed_sets_the_guest_up_anew(lab: Lab, vm: str) -> None:
    host_key = lab.guest(vm, "cat /etc/ssh/ssh_host_ed25519_key.pub")
    wanted = {"commands": [f"echo {SECOND} > /root/secret"]}
    check = lab.play("playbooks/reseed_vm.yml", "--check", name=vm, **wanted)
    assert check.ok and f"write_seed {vm}.seed" in check.output
    given = lab.play("playbooks/reseed_vm.yml", name=vm, allow_power_cycle=True, **wanted)
    assert given.ok, given.output
    again = lab.play("playbooks/reseed_vm.yml", name=vm, allow_power_cycle=True, **wanted)
    assert again.ok and again.unchanged, again.output
    sealed = lab.play("playbooks/seal_seed.yml", name=vm, how="lock")
    assert sealed.ok, sealed.output
    assert lab.guest(vm, "sudo cat /root/secret").strip() == SECOND
    assert lab.guest(vm, "cat /etc/ssh/ssh_host_ed25519_key.pub") != host_key
    history = lab.sql(
        f"SELECT string_agg(action, ' ' ORDER BY event.id) FROM virtfleet.event JOIN virtfleet.vm ON vm = vm.id"
        f" WHERE name = '{vm}' AND action IN ('reseed', 'seal')"
    )
    assert history == "seal reseed seal"


def test_a_locked_seed_is_there_and_out_of_the_guests_reach(lab: Lab, vm: str) -> None:
    assert SECOND in seed(lab)
    assert "No medium" in lab.guest(vm, f"{MOUNT} 2>&1 || true")
