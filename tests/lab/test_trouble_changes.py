# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Changes while something does not answer, is full, is held by others or was edited by hand: all stays as it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import Lab, Result, until
from .test_trouble import BOUND_SECONDS, LIBVIRT, ceph_units, down, silent

NAME = "cln-held"
POOL = "libvirt-pool"
NODE = "node-2"
DATA = f"{NAME}.data"
SMALL: dict[str, Any] = {"ram": 128, "disk": 2, "node": NODE, "disks": [{"name": "data", "size": 1}]}


def play(lab: Lab, playbook: str, *arguments: str, **variables: Any) -> Result:
    begin = time.monotonic()
    result = lab.play(f"playbooks/{playbook}.yml", *arguments, **{"name": NAME, **variables})
    assert time.monotonic() - begin < BOUND_SECONDS
    return result


def says(result: Result) -> str:
    """What a playbook failed with, on one line."""
    assert not result.ok, result.output
    return " ".join(result.output.split())


def row(lab: Lab) -> str:
    return lab.sql(
        "SELECT state, memory_mib, vcpus, disk_gib, spec->'disks', lease_by, step IS NOT NULL"
        f" FROM virtfleet.vm WHERE name = '{NAME}' AND state <> 'deleted'"
    )


def xml(lab: Lab) -> str:
    return lab.on(NODE, "virsh", "dumpxml", "--inactive", NAME)


def sizes(lab: Lab) -> dict[str, int]:
    """The volumes of the VM, and how large they are in GiB."""
    listed = json.loads(lab.on(NODE, "rbd", "ls", "--long", POOL, "--format", "json"))
    return {
        volume["image"]: volume["size"] >> 30
        for volume in listed
        if volume["image"].startswith(f"{NAME}.") and "snapshot" not in volume
    }


@pytest.fixture(scope="module")
def vm(lab: Lab) -> Iterator[str]:
    """A stopped VM with a data disk."""
    try:
        made = play(lab, "create_vm", start=False, **SMALL)
        assert made.ok, made.output
        yield NAME
    finally:
        gone = play(lab, "delete_vm", purge=True, force=True)
        assert gone.ok, gone.output


@contextmanager
def as_before(lab: Lab) -> Iterator[None]:
    """What happens within leaves the registry, the definition and the volumes as they are, but for what failed."""
    before = (row(lab).rpartition("|")[0], xml(lab), sizes(lab))
    yield
    assert (row(lab).rpartition("|")[0], xml(lab), sizes(lab)) == before


RNG = '<rng model="virtio"><backend model="random">/dev/urandom</backend></rng>'
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("resize_vm", {"disk": 3, "ram": 192}),
    ("attach_disk", {"disk": "more", "size": 1}),
    ("detach_disk", {"disk": "data"}),
]


@contextmanager
def full(lab: Lab) -> Iterator[None]:
    """A pool that takes no more data, by a quota."""
    lab.on("node-1", "ceph", "osd", "pool", "set-quota", POOL, "max_objects", "1")
    try:
        lab.wait_until_full()
        yield
    finally:
        lab.on("node-1", "ceph", "osd", "pool", "set-quota", POOL, "max_objects", "0")
        lab.wait_until_full(False)


def test_a_full_pool_refuses_what_needs_room(lab: Lab, vm: str) -> None:
    try:
        with as_before(lab), full(lab):
            for playbook, variables in (*CHANGES[:2], ("snapshot_vm", {"snapshot": "full"})):
                refused = says(play(lab, playbook, **variables))
                assert f"Pool {POOL} is full" in refused and "nothing was done" in refused, refused
            refused = says(play(lab, "create_vm", **{**SMALL, "name": "cln-full"}))
            assert f"Pool {POOL} is full" in refused
            # What makes room works.
            for playbook in ("delete_vm", "purge_trash"):
                name = {"name": "cln-full"} if playbook == "delete_vm" else {"vm": "cln-full", "expired_only": False}
                result = lab.play(f"playbooks/{playbook}.yml", **name)
                assert result.ok, result.output
    finally:
        lab.play("playbooks/delete_vm.yml", name="cln-full", purge=True)


@pytest.mark.parametrize(("playbook", "variables"), CHANGES)
def test_libvirt_down(lab: Lab, vm: str, playbook: str, variables: dict[str, Any]) -> None:
    with as_before(lab), down(lab, NODE, *LIBVIRT):
        assert "libvirt at qemu:///system does not answer" in says(play(lab, playbook, **variables))


@pytest.mark.slow
def test_ceph_silent(lab: Lab, vm: str) -> None:
    with as_before(lab):
        with silent(lab, ceph_units(lab, "osd")):
            refused = says(play(lab, "resize_vm", disk=3))
        lab.wait_for_health()
    assert "Ceph did not answer while" in refused


def test_a_node_that_is_away(lab: Lab, vm: str) -> None:
    """Nobody knows whether anything was done, so that what was asked for stays; the same again finishes it."""
    volumes = sizes(lab)
    with lab.away(NODE):
        for playbook, variables in (("resize_vm", {"ram": 192}), ("snapshot_vm", {"snapshot": "away"})):
            assert f"Node {NODE} does not answer" in says(play(lab, playbook, **variables))
    assert sizes(lab) == volumes
    finished = play(lab, "resize_vm", ram=192)
    assert finished.ok, finished.output
    assert play(lab, "resize_vm", ram=128).ok
    assert row(lab).startswith("stopped|128|") and row(lab).endswith("|f")


def test_a_volume_that_somebody_else_has_open_is_not_deleted(lab: Lab, vm: str) -> None:
    enough = f"/tmp/{NAME}.enough"
    hold = (
        "import os, rados, rbd, time\n"
        "cluster = rados.Rados(conffile='/etc/ceph/ceph.conf', name='client.libvirt')\n"
        f"cluster.connect()\npool = cluster.open_ioctx('{POOL}')\n"
        f"with rbd.Image(pool, '{DATA}') as image:\n"
        f"    while not os.path.exists('{enough}'):\n        time.sleep(0.2)\n"
    )
    with as_before(lab), ThreadPoolExecutor(1) as pool:
        # It ends by itself: a client that is killed is a watcher for another half minute.
        holder = pool.submit(lab.on, "node-1", "python3", "-", stdin=hold, minutes=6)
        try:
            until(lambda: is_watched(lab), "a watcher")
            for purge in (False, True):
                assert f"volume {DATA} is in use by another client" in says(play(lab, "delete_vm", purge=purge))
        finally:
            lab.on("node-1", "touch", enough)
            holder.result()
            lab.on("node-1", "rm", enough)


def is_watched(lab: Lab) -> bool:
    return bool(json.loads(lab.on(NODE, "rbd", "status", f"{POOL}/{DATA}", "--format", "json"))["watchers"])


def test_what_was_edited_by_hand_stays_and_a_disk_that_is_missing_comes_back(lab: Lab, vm: str) -> None:
    """A description and a device are nobody's business; a disk is, and memory when sizes are asked for."""
    original = xml(lab)
    lab.on(NODE, "virsh", "desc", NAME, "--config", "edited by hand")
    lab.on(NODE, "tee", f"/tmp/{NAME}.xml", stdin=RNG)
    lab.on(NODE, "virsh", "attach-device", NAME, f"/tmp/{NAME}.xml", "--config")
    lab.on(NODE, "rm", f"/tmp/{NAME}.xml")
    target = lab.on(NODE, "sh", "-c", f"virsh domblklist {NAME} --inactive | awk '/{DATA}/ {{print $1}}'").strip()
    lab.on(NODE, "virsh", "detach-disk", NAME, target, "--config")
    lab.on(NODE, "virsh", "setmem", NAME, "96M", "--config")
    edited = xml(lab)
    assert DATA in original and DATA not in edited
    for playbook, variables in (("start_vm", {}), ("suspend_vm", {}), ("resume_vm", {}), ("stop_vm", {"force": True})):
        assert play(lab, playbook, **variables).ok
        assert xml(lab) == edited
    back = play(lab, "resize_vm", ram=128)
    assert back.ok and f"attach {DATA}" in back.output and f"redefine {NAME}" in back.output, back.output
    now = xml(lab)
    assert DATA in now and "edited by hand" in now and now.count("<rng ") == original.count("<rng ") + 1
    assert play(lab, "resize_vm", ram=128).unchanged


def is_leased(lab: Lab) -> bool:
    return lab.sql(f"SELECT lease_until >= now() FROM virtfleet.vm WHERE name = '{NAME}' AND state <> 'deleted'") == "t"


def test_two_stops_and_a_delete_at_once(lab: Lab, vm: str) -> None:
    """One of them does it; the others say who, or find nothing left to do."""
    assert play(lab, "start_vm").ok
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(play, lab, "stop_vm", timeout=40)
        until(lambda: is_leased(lab), "a lease of the first")
        assert "is being changed by" in says(play(lab, "stop_vm", force=True))
        assert "is being changed by" in says(play(lab, "delete_vm"))
        # Its guest is at its firmware and does not hear it.
        assert "did not shut down within 40 s" in says(slow.result())
    assert play(lab, "stop_vm", force=True).ok
    assert play(lab, "stop_vm").unchanged


@pytest.mark.slow
def test_a_qemu_that_hangs_loses_nothing(lab: Lab, vm: str) -> None:
    assert play(lab, "start_vm").ok
    pid = lab.on(NODE, "sh", "-c", f"cat /run/libvirt/qemu/{NAME}.pid").strip()
    before = sizes(lab)
    lab.on(NODE, "kill", "-STOP", pid)
    try:
        assert "did not answer within 60 s" in says(play(lab, "detach_disk", disk="data"))
    finally:
        lab.on(NODE, "kill", "-CONT", pid)
    assert sizes(lab) == before
    done = play(lab, "detach_disk", disk="data")
    assert done.ok, done.output
    assert DATA not in xml(lab) and DATA in sizes(lab)
    assert play(lab, "attach_disk", disk="data", size=1).ok and DATA in xml(lab)
    assert play(lab, "stop_vm", force=True).ok
