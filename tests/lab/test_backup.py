# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Backup and restore on real Ceph and libvirt: a guest, and a small VM that is cut off, damaged, and without room."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Lab, Result, until
from .test_snapshots import POOL, events_of, on_pool, snapshots

NODE = "node-1"
NAME, IMAGE, COPY, PLACE, OTHER = "bak-lab", "bak-image", "bak-copy", "/srv/bak-lab", "bak-pool"
GUEST, GUEST_PLACE = "bak-guest", "/srv/bak-guest"
MIB = 1024 * 1024
BUSY = 180


def play(lab: Lab, playbook: str, *arguments: str, **variables: Any) -> Result:
    return lab.play(f"playbooks/{playbook}.yml", *arguments, **{"name": NAME, "to": PLACE, **variables})


def succeeds(result: Result, *words: str) -> Result:
    assert result.ok, result.output
    assert [word for word in words if word not in unfolded(result)] == [], result.output
    return result


def is_refused(result: Result, *words: str) -> None:
    assert not result.ok, result.output
    assert [word for word in words if word not in unfolded(result)] == [], result.output


def unfolded(result: Result) -> str:
    """The output with its lines joined, as YAML folds them."""
    return " ".join(result.output.split())


def life(lab: Lab, playbook: str, *arguments: str, **variables: Any) -> Result:
    """A playbook that takes no place of backups."""
    return lab.play(f"playbooks/{playbook}.yml", *arguments, **{"name": NAME, **variables})


def listed(lab: Lab, directory: Path, to: str = PLACE) -> dict[str, str]:
    """The kinds of the backups of the VM, or their states where they are not whole."""
    file = directory / "backups.json"
    succeeds(play(lab, "list_backups", to=to, node=NODE, file=str(file)))
    found = json.loads(file.read_text())
    return {one["name"]: one["kind"] if one["state"] == "whole" else one["state"] for one in found}


def write(lab: Lab, volume: str, text: str) -> None:
    on_pool(lab, f"with rbd.Image(pool, '{volume}') as image: image.write(b'{text}', 1 << 29)")


def content(lab: Lab, volume: str) -> str:
    return on_pool(lab, f"with rbd.Image(pool, '{volume}') as image: print(image.read(1 << 29, 3).decode())")


def digest(lab: Lab, image: str) -> str:
    command = f"rbd export --no-progress {POOL}/{image} - | sha256sum"
    return lab.on(NODE, "sh", "-c", command).split()[0]


def bases(lab: Lab, directory: Path) -> list[str]:
    return [name.rpartition("-")[0] for name in snapshots(lab, directory, NAME) if name.startswith("backup-")]


@pytest.fixture(scope="module")
def image(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of 8 MiB that no guest boots from."""
    file = tmp_path_factory.mktemp("image") / "disk.raw"
    file.write_bytes(b"\x55" * 8 * MIB)
    succeeds(lab.play("playbooks/import_image.yml", image_name=IMAGE, image_file=str(file), image_version=""))
    yield IMAGE
    succeeds(lab.play("playbooks/remove_image.yml", image=IMAGE))


@pytest.fixture(scope="module")
def guest(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A copy of the guest that every lab has, restored and booting while the other tests run."""
    lab.on(NODE, "mkdir", "-m", "700", "-p", GUEST_PLACE)
    node = lab.sql("SELECT node FROM virtfleet.vm WHERE name = 'test-1' AND state <> 'deleted'")
    lab.guest("test-1", "echo before | sudo tee /root/backed-up && sudo sync")
    lab.on(node, "mkdir", "-m", "700", "-p", GUEST_PLACE)
    begin = time.monotonic()
    made = play(lab, "backup_vm", name="test-1", to=GUEST_PLACE, freeze="required")
    succeeds(made, "full", "snapshot test-1@backup-")
    print(f"full backup of a running guest: {time.monotonic() - begin:.0f} s")
    lab.guest("test-1", "echo after | sudo tee -a /root/backed-up && sudo sync")
    begin = time.monotonic()
    succeeds(play(lab, "backup_vm", name="test-1", to=GUEST_PLACE, freeze="required"), "incremental")
    print(f"incremental backup of it: {time.monotonic() - begin:.0f} s")
    begin = time.monotonic()
    succeeds(play(lab, "restore_vm", **{"name": "test-1", "to": GUEST_PLACE, "node": node, "as": GUEST}))
    print(f"restore of it under another name: {time.monotonic() - begin:.0f} s")
    yield
    succeeds(life(lab, "delete_vm", name=GUEST, purge=True, force=True))
    for name in snapshots(lab, tmp_path_factory.mktemp("guest"), "test-1"):
        if name.startswith("backup-"):
            succeeds(life(lab, "remove_snapshot", name="test-1", snapshot=name))
    lab.on(node, "rm", "-r", GUEST_PLACE)


@pytest.fixture(scope="module")
def vm(lab: Lab, guest: None, image: str) -> Iterator[str]:
    """A stopped VM with a data disk; its root volume."""
    lab.on(NODE, "mkdir", "-m", "700", PLACE)
    small = {"ram": 128, "disk": 1, "image": image, "node": NODE, "start": False}
    succeeds(life(lab, "create_vm", **small, disks=[{"name": "data", "size": 1}]))
    yield f"{NAME}.root"
    for name in (NAME, COPY):
        succeeds(life(lab, "delete_vm", name=name, purge=True, force=True))
    # What was deleted to be restored hangs on the image too.
    succeeds(lab.play("playbooks/purge_trash.yml", vm=NAME, expired_only=False))
    lab.on(NODE, "rm", "-r", PLACE)


def test_full_then_what_changed_and_back_under_the_old_name(lab: Lab, tmp_path: Path, vm: str) -> None:
    write(lab, vm, "one")
    check = succeeds(play(lab, "backup_vm", "--check", "--diff", backup="b1"), f"write {vm}", "b1: full")
    assert "changed" in check.output and lab.on(NODE, "ls", PLACE) == ""
    succeeds(play(lab, "backup_vm", backup="b1"), "there is none of this VM yet")
    assert play(lab, "backup_vm", backup="b1").unchanged
    write(lab, vm, "two")
    write(lab, f"{NAME}.data", "dat")
    # Zeros where there was something else, and fewer than librbd discards.
    on_pool(lab, f"with rbd.Image(pool, '{vm}') as image: image.write(bytes(512), 4096)")
    succeeds(play(lab, "backup_vm", backup="b2"), "incremental")
    assert listed(lab, tmp_path) == {"b1": "full", "b2": "incremental"}
    assert bases(lab, tmp_path) == ["backup-b2"]
    assert play(lab, "verify_backup").unchanged
    is_refused(play(lab, "restore_vm", node=NODE), "is there already", "delete_vm.yml")
    row = f"SELECT id, mac, disk_gib FROM virtfleet.vm WHERE name = '{NAME}' AND state <> 'deleted'"
    before = lab.sql(row), digest(lab, vm), digest(lab, f"{NAME}.seed")
    succeeds(life(lab, "delete_vm"))
    succeeds(play(lab, "restore_vm", node=NODE, start=False))
    assert (lab.sql(row), digest(lab, vm), digest(lab, f"{NAME}.seed")) == before
    assert (content(lab, vm), content(lab, f"{NAME}.data")) == ("two", "dat")
    assert {"backup", "restore"} <= set(events_of(lab, NAME))
    # Its volumes are others now, and so begin anew.
    succeeds(play(lab, "backup_vm", backup="b3"), "full", "is not there any more")
    succeeds(life(lab, "start_vm"))
    assert lab.on(NODE, "virsh", "domstate", NAME).strip() == "running"
    succeeds(life(lab, "stop_vm", force=True))


def test_rbd_import_diff_takes_the_streams(lab: Lab, vm: str) -> None:
    lab.on(NODE, "rbd", "create", "--size", "1", f"{POOL}/bak-by-hand")
    try:
        write(lab, vm, "six")
        succeeds(play(lab, "backup_vm", backup="b4"), "incremental")
        for backup in ("b3", "b4"):
            stream = f"{PLACE}/{NAME}/{backup}/root.rbd-diff"
            lab.on(NODE, "rbd", "import-diff", "--no-progress", stream, f"{POOL}/bak-by-hand")
        assert digest(lab, "bak-by-hand") == digest(lab, vm)
    finally:
        lab.on(NODE, "rbd", "snap", "purge", "--no-progress", f"{POOL}/bak-by-hand")
        lab.on(NODE, "rbd", "rm", "--no-progress", f"{POOL}/bak-by-hand")


def test_damage_is_found_and_nothing_restored_from_it(lab: Lab, vm: str) -> None:
    stream = f"{PLACE}/{NAME}/b3/root.rbd-diff"
    lab.on(NODE, "cp", "--archive", stream, f"{PLACE}/good")
    lab.on(NODE, "sh", "-c", f"printf X | dd of={stream} bs=1 seek=999999 conv=notrunc status=none")
    is_refused(play(lab, "verify_backup"), "b3/root.rbd-diff: it has the SHA-256")
    is_refused(play(lab, "restore_vm", **{"as": COPY, "node": NODE}), "b3/root.rbd-diff: it has the SHA-256")
    assert COPY not in lab.on(NODE, "rbd", "ls", POOL)
    assert lab.sql(f"SELECT count(*) FROM virtfleet.vm WHERE name = '{COPY}' AND state <> 'deleted'") == "0"
    lab.on(NODE, "mv", f"{PLACE}/good", stream)
    succeeds(play(lab, "verify_backup", backup="b4"))


def test_a_backup_that_is_killed_is_none(lab: Lab, tmp_path: Path, vm: str) -> None:
    before = bases(lab, tmp_path)
    variables = json.dumps({"name": NAME, "to": PLACE, "backup": "torn", "kind": "full", "rate": 1})
    command = ["ansible-playbook", "-i", str(lab.inventory), "playbooks/backup_vm.yml", "-e", variables]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        partial = f"{PLACE}/{NAME}/torn.partial/root.rbd-diff"
        # Only the process that writes it is killed.
        holders = f"find /proc/[0-9]*/fd -lname {partial} 2>/dev/null | cut -d/ -f3 | sort -u"
        deadline = time.monotonic() + BUSY
        while running.poll() is None and time.monotonic() < deadline:
            lab.on(NODE, "sh", "-c", f"{holders} | xargs -r kill -9 || true")
            time.sleep(0.5)
        assert running.wait(timeout=BUSY) != 0
    assert listed(lab, tmp_path)["torn"] == "partial" and set(bases(lab, tmp_path)) == {*before, "backup-torn"}
    succeeds(play(lab, "backup_vm", backup="b5"), f"discard {NAME}/torn", "incremental")
    assert "torn" not in listed(lab, tmp_path) and bases(lab, tmp_path) == ["backup-b5"]
    succeeds(play(lab, "verify_backup"))


def test_a_directory_without_room_is_said_and_all_is_as_before(lab: Lab, tmp_path: Path, vm: str) -> None:
    before = bases(lab, tmp_path)
    lab.on(NODE, "mkdir", "/srv/bak-full")
    lab.on(NODE, "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", "/srv/bak-full")
    try:
        is_refused(play(lab, "backup_vm", to="/srv/bak-full"), "There is no room left in /srv/bak-full", "Make room")
        assert lab.on(NODE, "find", "/srv/bak-full", "-type", "f") == "" and bases(lab, tmp_path) == before
    finally:
        lab.on(NODE, "umount", "/srv/bak-full")
        lab.on(NODE, "rmdir", "/srv/bak-full")
    is_refused(play(lab, "backup_vm", to="/srv/bak-full"), "There is no directory /srv/bak-full")


def test_what_is_needed_is_kept(lab: Lab, tmp_path: Path, vm: str) -> None:
    is_refused(play(lab, "remove_backup", backup="b3"), "b4 builds on it", "b5 builds on it")
    succeeds(play(lab, "remove_backup", backup="b2"))
    assert play(lab, "remove_backup", backup="b2").unchanged
    kept = succeeds(play(lab, "backup_vm", backup="b6", keep=2), f"remove_backup {NAME}/b1")
    assert "remove_backup b3" not in kept.output
    assert listed(lab, tmp_path) == {
        name: "full" if name == "b3" else "incremental" for name in ("b3", "b4", "b5", "b6")
    }


@pytest.fixture
def other_pool(lab: Lab) -> Iterator[str]:
    """Another pool that the nodes' client may use, as ceph_backup_pool makes it."""
    entry = json.loads(lab.on(NODE, "ceph", "auth", "get", "client.libvirt", "--format", "json"))[0]
    before = [word for pair in entry["caps"].items() for word in pair]
    wider = [f"{word}, profile rbd pool={OTHER}" if POOL in word else word for word in before]
    lab.on(NODE, "ceph", "osd", "pool", "create", OTHER, "8")
    try:
        lab.on(NODE, "rbd", "pool", "init", OTHER)
        lab.on(NODE, "ceph", "auth", "caps", "client.libvirt", *wider)
        yield f"pool:{OTHER}"
    finally:
        lab.on(NODE, "ceph", "auth", "caps", "client.libvirt", *before)
        lab.on(NODE, "ceph", "config", "set", "mon", "mon_allow_pool_delete", "true")
        lab.on(NODE, "ceph", "osd", "pool", "rm", OTHER, OTHER, "--yes-i-really-really-mean-it")
        lab.on(NODE, "ceph", "config", "rm", "mon", "mon_allow_pool_delete")


def test_another_pool_holds_backups_as_a_directory_does(lab: Lab, tmp_path: Path, vm: str, other_pool: str) -> None:
    elsewhere = set(bases(lab, tmp_path))
    write(lab, vm, "ten")
    succeeds(play(lab, "backup_vm", to=other_pool, backup="p1"), "full")
    write(lab, vm, "new")
    succeeds(play(lab, "backup_vm", to=other_pool, backup="p2"), "incremental")
    assert set(bases(lab, tmp_path)) == elsewhere | {"backup-p2"}
    assert listed(lab, tmp_path, other_pool) == {"p1": "full", "p2": "incremental"}
    succeeds(play(lab, "verify_backup", to=other_pool))
    succeeds(play(lab, "restore_vm", **{"to": other_pool, "as": COPY, "start": False, "backup": "p1"}))
    assert (content(lab, f"{COPY}.root"), content(lab, vm)) == ("ten", "new")
    succeeds(life(lab, "delete_vm", name=COPY, purge=True))
    lab.on(NODE, "ceph", "osd", "pool", "set-quota", OTHER, "max_bytes", "1")
    lab.wait_until_full()
    is_refused(play(lab, "backup_vm", to=other_pool, backup="p3", kind="full"), "has no room", f"in pool {OTHER}")
    assert set(bases(lab, tmp_path)) == elsewhere | {"backup-p2"}
    assert listed(lab, tmp_path, other_pool) == {"p1": "full", "p2": "incremental"}
    is_refused(play(lab, "backup_vm", to=f"pool:{POOL}"), "would be lost with them")


@pytest.mark.slow
def test_a_guest_has_its_files_under_another_name_and_is_another(lab: Lab, vm: str) -> None:
    def has_address() -> bool:
        succeeds(lab.play("playbooks/refresh_vms.yml"))
        return bool(lab.sql(f"SELECT host(ip) FROM virtfleet.vm WHERE name = '{GUEST}' AND state <> 'deleted'"))

    until(has_address, "the guest's address")
    assert lab.guest(GUEST, "sudo cat /root/backed-up").split() == ["before", "after"]
    assert lab.guest(GUEST, "hostname").strip() == GUEST
    machine = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
    assert not set(lab.guest(GUEST, machine).split("\n")) & set(lab.guest("test-1", machine).strip().split("\n"))
