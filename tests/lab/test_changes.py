# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What is changed in a VM arrives in its guest: sizes, data disks; and a deleted one comes back with them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import MINUTE, Lab

NAME = "changing"
POOL = "libvirt-pool"


def becomes(read: Callable[[], Any], wanted: Any, seconds: int = 2 * MINUTE) -> None:
    """Until it does; the guest needs a moment to see what changed."""
    deadline = time.monotonic() + seconds
    while (seen := read()) != wanted:
        assert time.monotonic() < deadline, f"{seen!r}, not {wanted!r}"
        time.sleep(2)


@pytest.fixture(scope="module")
def vm(lab: Lab) -> Iterator[str]:
    created = lab.play(
        "playbooks/create_vm.yml",
        name=NAME,
        flavor="tiny",
        vm_flavors={"tiny": {"ram": 256, "disk": 5}},
        ram_max=512,
        cpu_max=2,
        disks=[{"name": "data", "size": 1, "filesystem": "ext4", "mount": "/srv/data"}],
        timezone="Europe/Berlin",
        files=[{"path": "/srv/hello", "content": "$(reboot)\n", "permissions": "0600", "owner": "debian"}],
        commands=["cp /srv/hello /srv/copy", ["touch", "/srv/two words"]],
        user_data={"write_files": [{"path": "/srv/own", "content": "own"}]},
        wait=True,
    )
    assert created.ok, created.output
    yield NAME
    lab.play("playbooks/delete_vm.yml", name=NAME, purge=True, force=True)


def change(lab: Lab, playbook: str, **variables: Any) -> None:
    """Run a playbook, and see that it changes nothing the second time."""
    first = lab.play(f"playbooks/{playbook}.yml", name=NAME, **variables)
    assert first.ok, first.output
    again = lab.play(f"playbooks/{playbook}.yml", name=NAME, **variables)
    assert again.ok and again.unchanged, again.output


def size_of(lab: Lab, device: str) -> str:
    return lab.guest(NAME, f"lsblk --nodeps --noheadings --output SIZE {device} || true").strip()


def vcpus_live(lab: Lab) -> str:
    node = lab.sql(f"SELECT node FROM virtfleet.vm WHERE name = '{NAME}' AND state = 'running'")
    return lab.on(node, "virsh", "vcpucount", NAME, "--live", "--current").strip()


def by_id(serial: str) -> str:
    return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"


def row(lab: Lab) -> str:
    return lab.sql(f"SELECT state, memory_mib, vcpus, disk_gib, spec FROM virtfleet.vm WHERE name = '{NAME}'")


def test_the_first_boot_makes_and_mounts_file_systems(lab: Lab, vm: str) -> None:
    lab.guest(NAME, "cloud-init status --wait", tries=60, minutes=10)
    source, kind = lab.guest(NAME, "findmnt --noheadings --output SOURCE,FSTYPE /srv/data").split()
    assert kind == "ext4"
    assert lab.guest(NAME, f"readlink -f {by_id('data')}").strip() == source
    lab.guest(NAME, "echo kept | sudo tee /srv/data/file && sync")


def test_the_first_boot_does_what_was_asked(lab: Lab, vm: str) -> None:
    files = "/srv/hello /srv/copy '/srv/two words' /srv/own /etc/localtime"
    assert lab.guest(NAME, f"stat --format %U:%a /srv/hello; sudo ls -1 {files} | wc -l; sudo cat /srv/copy").split(
        "\n"
    ) == ["debian:600", "5", "$(reboot)", ""]
    assert lab.guest(NAME, "readlink /etc/localtime").strip().endswith("/Europe/Berlin")


def test_what_it_says_on_its_console_can_be_read(lab: Lab, vm: str) -> None:
    read = lab.play("playbooks/console_log.yml", name=NAME, lines=2000)
    assert read.ok and read.unchanged and "Linux version" in read.output
    nobody = lab.play("playbooks/console_log.yml", name="nobody")
    assert not nobody.ok and "There is no VM 'nobody'" in nobody.output


def test_sizes_grow_while_it_runs(lab: Lab, vm: str) -> None:
    boot = lab.guest(NAME, "cat /proc/sys/kernel/random/boot_id")
    change(lab, "resize_vm", ram=512, cpu=2, disk=6)
    becomes(lambda: size_of(lab, "/dev/vda"), "6G")
    # Linux under TCG does not look at a virtual CPU that is added; it has it after the restart below.
    assert vcpus_live(lab) == "2"
    assert lab.guest(NAME, "cat /proc/sys/kernel/random/boot_id") == boot


@pytest.mark.slow
def test_what_it_cannot_take_while_it_runs_waits_for_a_restart(lab: Lab, vm: str) -> None:
    # Alone, this comes upon a guest whose first boot is not over, and which would not hear that it is to shut down.
    lab.guest(NAME, "cloud-init status --wait", tries=60, minutes=10)
    asked = lab.play("playbooks/resize_vm.yml", name=NAME, ram=640)
    assert asked.ok and "allow_power_cycle=true" in asked.output
    change(lab, "resize_vm", ram=640, cpu=2, allow_power_cycle=True)
    kib = int(lab.guest(NAME, "awk '/MemTotal/ {print $2}' /proc/meminfo", tries=60))
    assert kib > 512 * 1024
    assert lab.guest(NAME, "nproc").strip() == "2"


def test_data_disks_come_and_go_while_it_runs(lab: Lab, vm: str) -> None:
    change(lab, "attach_disk", disk="more", size=1, serial="more-1")
    becomes(lambda: size_of(lab, by_id("more-1")), "1G")
    lab.guest(NAME, f"echo written | sudo dd of={by_id('more-1')} conv=fsync status=none")
    change(lab, "attach_disk", disk="more", size=2)
    becomes(lambda: size_of(lab, by_id("more-1")), "2G")
    change(lab, "detach_disk", disk="more")
    becomes(lambda: size_of(lab, by_id("more-1")), "")
    assert f"{NAME}.more" in lab.on("node-1", "rbd", "ls", POOL)
    change(lab, "attach_disk", disk="more", size=2, serial="more-1")
    becomes(lambda: lab.guest(NAME, f"sudo head -c 7 {by_id('more-1')} || true"), "written")
    change(lab, "detach_disk", disk="more", remove=True)
    assert f"{NAME}.more" not in lab.on("node-1", "rbd", "ls", POOL)


@pytest.mark.parametrize(
    ("playbook", "variables", "said"),
    [
        ("resize_vm", {"disk": 3}, "never shrunk"),
        ("resize_vm", {"ram": "900GiB"}, "has no room"),
        ("resize_vm", {"ram": 0, "cpu": "x"}, "cpu 'x' is not a whole number"),
        ("resize_vm", {"memory": 512}, "there is no variable memory"),
        ("resize_vm", {"flavor": "huge"}, "flavor 'huge' is none of"),
        ("attach_disk", {"disk": "new"}, "disks: new: size None is not a size"),
        ("attach_disk", {"disk": "root", "size": 1}, "taken by a disk that every VM has"),
        ("attach_disk", {"size": 1}, "variable disk is missing"),
    ],
)
def test_what_is_refused_leaves_everything(
    lab: Lab, vm: str, playbook: str, variables: dict[str, Any], said: str
) -> None:
    before = row(lab)
    refused = lab.play(f"playbooks/{playbook}.yml", name=NAME, **variables)
    assert not refused.ok and said in " ".join(refused.output.split()), refused.output
    assert row(lab) == before


def test_a_protected_vm_stays(lab: Lab, vm: str) -> None:
    change(lab, "protect_vm")
    refused = lab.play("playbooks/delete_vm.yml", name=NAME)
    assert not refused.ok and "is protected" in refused.output
    change(lab, "protect_vm", protected=False)


def test_a_deleted_vm_comes_back_with_its_disks(lab: Lab, vm: str) -> None:
    change(lab, "delete_vm", force=True)
    trash = {entry["name"] for entry in json.loads(lab.on("node-1", "rbd", "trash", "ls", POOL, "--format", "json"))}
    assert {f"{NAME}.root", f"{NAME}.seed", f"{NAME}.data"} <= trash
    kept = lab.play("playbooks/purge_trash.yml", vm=NAME)
    assert kept.ok and kept.unchanged, kept.output

    change(lab, "undelete_vm")

    def has_address() -> bool:
        assert lab.play("playbooks/refresh_vms.yml", names=[NAME]).ok
        return bool(lab.sql(f"SELECT ip FROM virtfleet.vm WHERE name = '{NAME}' AND state = 'running'"))

    becomes(has_address, True, 10 * MINUTE)
    assert lab.guest(NAME, "cat /srv/data/file", tries=60).strip() == "kept"


def test_what_was_purged_does_not_come_back(lab: Lab, tmp_path: Path) -> None:
    created = lab.play("playbooks/create_vm.yml", name="purging", ram=128, disk=5)
    assert created.ok, created.output
    assert lab.play("playbooks/delete_vm.yml", name="purging", force=True, retention_days=0).ok
    purged = lab.play("playbooks/purge_trash.yml", vm="purging")
    assert purged.ok and not purged.unchanged
    again = lab.play("playbooks/purge_trash.yml", vm="purging")
    assert again.ok and again.unchanged
    refused = lab.play("playbooks/undelete_vm.yml", name="purging")
    assert not refused.ok and "The trash does not hold purging.root" in " ".join(refused.output.split())
    assert "purging" not in lab.vms(tmp_path)
    nobody = lab.play("playbooks/undelete_vm.yml", name="nobody")
    assert not nobody.ok and "No VM 'nobody' was deleted" in nobody.output
