# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Snapshots on real Ceph and libvirt: of a guest with an agent, of one without, and of one in trouble."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab, Result, until
from .test_trouble import LIBVIRT, ceph_units, down, silent

POOL = "libvirt-pool"
NAME = "snap-lab"
SMALL: dict[str, Any] = {"ram": 128, "disk": 2, "node": "node-2"}


def play(lab: Lab, playbook: str, *arguments: str, **variables: Any) -> Result:
    return lab.play(f"playbooks/{playbook}.yml", *arguments, **{"name": NAME, **variables})


def snapshots(lab: Lab, directory: Path, name: str = NAME) -> dict[str, dict[str, Any]]:
    """The snapshots of a VM by name."""
    file = directory / "snapshots.json"
    result = play(lab, "list_snapshots", name=name, file=str(file))
    assert result.ok, result.output
    return {found["name"]: found for found in json.loads(file.read_text())}


def on_pool(lab: Lab, script: str) -> str:
    """The output of a script on a node, with `pool` being its pool."""
    connect = (
        "import rados, rbd\n"
        "cluster = rados.Rados(conffile='/etc/ceph/ceph.conf', name='client.libvirt')\n"
        f"cluster.connect()\npool = cluster.open_ioctx('{POOL}')\n"
    )
    return lab.on("node-2", "python3", "-", stdin=connect + script).strip()


def write(lab: Lab, volume: str, text: str) -> None:
    on_pool(lab, f"with rbd.Image(pool, '{volume}') as image: image.write(b'{text}', 1 << 30)")


def content(lab: Lab, volume: str) -> str:
    return on_pool(lab, f"with rbd.Image(pool, '{volume}') as image: print(image.read(1 << 30, 3).decode())")


def events_of(lab: Lab, name: str) -> list[str]:
    query = (
        "SELECT action FROM virtfleet.event JOIN virtfleet.vm ON vm.id = event.vm"
        f" WHERE name = '{name}' AND state <> 'deleted' ORDER BY event.id"
    )
    return lab.sql(query).split()


@pytest.fixture
def stopped(lab: Lab) -> Iterator[str]:
    """A stopped VM; its root volume."""
    assert play(lab, "create_vm", **SMALL).ok
    assert play(lab, "stop_vm", force=True).ok
    yield f"{NAME}.root"
    gone = play(lab, "delete_vm", purge=True, force=True)
    assert gone.ok, gone.output


def test_back_and_forth(lab: Lab, tmp_path: Path, stopped: str) -> None:
    write(lab, stopped, "old")
    for name in ("one", "two"):
        assert play(lab, "snapshot_vm", snapshot=name).ok
    assert play(lab, "snapshot_vm", snapshot="one").unchanged
    write(lab, stopped, "new")
    check = play(lab, "rollback_vm", "--check", "--diff", snapshot="one")
    assert check.ok and "changed" in check.output and content(lab, stopped) == "new"
    assert play(lab, "rollback_vm", snapshot="one").ok
    assert content(lab, stopped) == "old"
    assert play(lab, "rollback_vm", snapshot="one").unchanged
    kept = play(lab, "snapshot_vm", keep=2)
    assert kept.ok and f"remove_snapshot {NAME}@one" in kept.output
    found = snapshots(lab, tmp_path)
    assert len(found) == 2 and "two" in found and all(one["state"] == "whole" for one in found.values())
    for unchanged in (False, True):
        result = play(lab, "remove_snapshot", snapshot="two")
        assert result.ok and result.unchanged is unchanged, result.output
    assert [event for event in events_of(lab, NAME) if event in ("snapshot", "rollback", "remove_snapshot")] == [
        "snapshot", "snapshot", "rollback", "snapshot", "remove_snapshot",
    ]  # fmt: skip


def test_a_running_vm_is_rolled_back_with_consent_only(lab: Lab, tmp_path: Path, stopped: str) -> None:
    assert play(lab, "start_vm").ok
    assert play(lab, "snapshot_vm", snapshot="one").ok
    # Its guest is at its firmware and has no agent; there is one volume, so that it needs no pause.
    assert snapshots(lab, tmp_path)["one"]["guest"] == "running"
    refused = play(lab, "snapshot_vm", snapshot="two", freeze="required")
    assert not refused.ok and "freeze=auto" in refused.output
    refused = play(lab, "rollback_vm", snapshot="one")
    assert not refused.ok and "allow_power_cycle=true" in refused.output
    cycled = play(lab, "rollback_vm", snapshot="one", allow_power_cycle=True, timeout=1)
    assert cycled.ok and f"roll_back {NAME}.root@one" in cycled.output, cycled.output
    assert lab.on("node-2", "virsh", "domstate", NAME).strip() == "running"
    assert set(snapshots(lab, tmp_path)) == {"one"}


def test_what_else_hangs_on_a_volume_keeps_it(lab: Lab, tmp_path: Path, stopped: str) -> None:
    assert play(lab, "snapshot_vm", snapshot="one").ok
    on_pool(lab, f"rbd.RBD().clone(pool, '{stopped}', 'one', pool, '{NAME}-clone', clone_format=2)")
    try:
        for refused in (play(lab, "remove_snapshot", snapshot="one"), play(lab, "delete_vm", purge=True)):
            assert not refused.ok and f"{stopped}@one has clones: {POOL}/{NAME}-clone" in refused.output
    finally:
        on_pool(lab, f"rbd.RBD().remove(pool, '{NAME}-clone')")
    lab.on("node-2", "rbd", "snap", "create", "--no-progress", f"{POOL}/{stopped}@by-hand")
    try:
        refused = play(lab, "delete_vm", purge=True)
        assert not refused.ok and f"{stopped}@by-hand was not made by snapshot_vm.yml" in refused.output
        refused = play(lab, "snapshot_vm", snapshot="by-hand")
        assert not refused.ok
        states = {name: found["state"] for name, found in snapshots(lab, tmp_path).items()}
        assert states == {"one": "whole", "by-hand": "foreign"}
    finally:
        lab.on("node-2", "rbd", "snap", "rm", "--no-progress", f"{POOL}/{stopped}@by-hand")


def frozen(lab: Lab, node: str) -> str:
    status = lab.on(node, "virsh", "qemu-agent-command", "test-1", '{"execute": "guest-fsfreeze-status"}')
    return str(json.loads(status)["return"])


def test_a_guest_with_an_agent_is_frozen_and_thawed(lab: Lab, tmp_path: Path) -> None:
    node = lab.vms(tmp_path)["test-1"]["Node"]
    result = play(lab, "snapshot_vm", "-v", name="test-1", snapshot="frozen", freeze="required")
    assert result.ok, result.output
    timings = [line.strip() for line in result.output.splitlines() if line.strip().startswith(("create:", "freeze:"))]
    print(f"snapshot of a running guest, in ms: {', '.join(timings)}")
    assert snapshots(lab, tmp_path, "test-1")["frozen"]["frozen"] is True
    until(lambda: frozen(lab, node) == "thawed", "thawed")
    with silent(lab, ceph_units(lab, "osd")):
        result = play(lab, "snapshot_vm", name="test-1", snapshot="mute")
    assert not result.ok and "Ceph did not answer" in result.output and "ceph -s" in result.output
    lab.wait_for_health()
    until(lambda: frozen(lab, node) == "thawed", "thawed")
    with down(lab, node, *LIBVIRT):
        result = play(lab, "snapshot_vm", name="test-1", snapshot="mute")
    assert not result.ok and "libvirt at qemu:///system does not answer" in result.output
    # libvirt that was restarted does not know the agent yet; a frozen guest could not write.
    lab.guest("test-1", "sudo touch /root/thawed && sudo sync")
    assert set(snapshots(lab, tmp_path, "test-1")) == {"frozen"}
    assert play(lab, "remove_snapshot", name="test-1", snapshot="frozen").ok
