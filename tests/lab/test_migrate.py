# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""VMs that move from node to node: a guest that goes on, moves that fail, that are refused, and that are cut off."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import ROOT, Lab, until

POOL = "libvirt-pool"
GUEST = "mig-guest"
IDLE = "mig-idle"
NODES = ("node-1", "node-2")


def create(lab: Lab, name: str, **options: Any) -> None:
    result = lab.play("playbooks/create_vm.yml", name=name, node="node-1", **options)
    assert result.ok, result.output


def delete(lab: Lab, name: str) -> None:
    result = lab.play("playbooks/delete_vm.yml", name=name, purge=True, force=True)
    assert result.ok, result.output


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[str]:
    """A VM whose guest has booted."""
    create(lab, GUEST, ram=512, disk=5, wait=True)
    agent(lab, "node-1", "guest-ping")
    yield GUEST
    delete(lab, GUEST)


@pytest.fixture
def idle(lab: Lab) -> Iterator[str]:
    """A VM on node-1 that does nothing."""
    create(lab, IDLE, ram=128, disk=2)
    yield IDLE
    delete(lab, IDLE)


def agent(lab: Lab, node: str, command: str, **arguments: Any) -> Any:
    """What the guest agent answers; it may not have begun yet."""
    request = json.dumps({"execute": command, "arguments": arguments})
    ask = f"for n in $(seq 300); do virsh qemu-agent-command {GUEST} '{request}' 2>/dev/null && exit; sleep 1; done"
    return json.loads(lab.on(node, "sh", "-c", f"{ask}; exit 1", minutes=10))["return"]


def read(lab: Lab, node: str, path: str) -> str:
    """A file in the guest."""
    handle = agent(lab, node, "guest-file-open", path=path)
    content = agent(lab, node, "guest-file-read", handle=handle)["buf-b64"]
    agent(lab, node, "guest-file-close", handle=handle)
    return base64.b64decode(content).decode().strip()


def where(lab: Lab, name: str) -> dict[str, str]:
    """The nodes that have a domain of this name, with its state."""
    states = {node: lab.on(node, "sh", "-c", f"virsh domstate {name} 2>/dev/null || true").strip() for node in NODES}
    return {node: state for node, state in states.items() if state}


def owner(lab: Lab, name: str) -> str:
    """The owner's object of the VM, as text."""
    return lab.on("node-1", "rados", "-p", POOL, "get", f"virtfleet.owner.{vm_id(lab, name)}", "/dev/stdout")


def vm_id(lab: Lab, name: str) -> str:
    return lab.sql(f"SELECT id FROM virtfleet.vm WHERE name = '{name}' AND state <> 'deleted'")


def row(lab: Lab, name: str) -> str:
    columns = "node, state, spec->>'moving_to', step, error->>'code', lease_by"
    return lab.sql(f"SELECT {columns} FROM virtfleet.vm WHERE name = '{name}' AND state <> 'deleted'")


def move(lab: Lab, name: str, *arguments: str, **options: Any) -> Any:
    return lab.play("playbooks/migrate_vm.yml", *arguments, name=name, **options)


def test_a_guest_goes_on_where_it_moves_to(lab: Lab, guest: str) -> None:
    boot, uptime = (read(lab, "node-1", path) for path in ("/proc/sys/kernel/random/boot_id", "/proc/uptime"))
    check = move(lab, guest, "--check", "--diff", node="node-2")
    assert check.ok and f"migrate {guest}" in check.output and "+    node: node-2" in check.output, check.output
    assert where(lab, guest) == {"node-1": "running"} and row(lab, guest).startswith("node-1|running||")

    # Its memory goes by TLS from libvirt to libvirt, and not beside that from QEMU to QEMU.
    with lab.refused("node-2", "tcp dport 49152-49215"):
        result = move(lab, guest, node="node-2")
    assert result.ok, result.output
    again = move(lab, guest, node="node-2")
    assert again.ok and again.unchanged, again.output
    assert where(lab, guest) == {"node-2": "running"} and row(lab, guest) == "node-2|running||||"
    assert "yes" in lab.on("node-2", "virsh", "dominfo", guest).split("Persistent:")[1].splitlines()[0]
    assert owner(lab, guest) == '{"node": "node-2"}'
    assert read(lab, "node-2", "/proc/sys/kernel/random/boot_id") == boot
    assert float(read(lab, "node-2", "/proc/uptime").split()[0]) > float(uptime.split()[0])
    lab.on("node-2", "test", "-f", f"/var/log/libvirt/qemu/{guest}-console.log")
    latest = f"SELECT action FROM virtfleet.event WHERE vm = '{vm_id(lab, guest)}' ORDER BY id DESC LIMIT 2"
    assert lab.sql(latest).split() == ["migrated", "migrate"]


@pytest.fixture
def moved(lab: Lab, guest: str) -> str:
    """The guest, on node-2, also where only the slow tests are run."""
    result = move(lab, guest, node="node-2")
    assert result.ok, result.output
    return guest


@pytest.mark.slow
def test_a_move_that_takes_too_long_is_broken_off(lab: Lab, moved: str) -> None:
    guest = moved
    boot = read(lab, "node-2", "/proc/sys/kernel/random/boot_id")
    result = move(lab, guest, node="node-1", timeout=2, bandwidth=1)
    assert not result.ok and "was not moved within 2 s" in result.output, result.output
    assert where(lab, guest) == {"node-2": "running"}
    assert row(lab, guest) == "node-2|running||Move it from its source|timeout|"
    assert owner(lab, guest) == '{"node": "node-2"}'
    assert read(lab, "node-2", "/proc/sys/kernel/random/boot_id") == boot


@pytest.mark.slow
def test_a_move_whose_controller_is_killed_is_finished_by_the_next(lab: Lab, moved: str) -> None:
    guest = moved
    # So slowly that a busy machine still sees it under way.
    variables = json.dumps({"name": guest, "node": "node-1", "bandwidth": 15})
    run = subprocess.Popen(
        ["ansible-playbook", "-i", str(lab.inventory), "playbooks/migrate_vm.yml", "-e", variables],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: "node-1" in where(lab, guest), "the guest on its target", pause=0.2)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert row(lab, guest).startswith("node-2|migrating|node-1|")
    busy = move(lab, guest)
    assert not busy.ok and "is being changed by" in busy.output
    lab.sql(f"UPDATE virtfleet.vm SET lease_until = now() - interval '1 second' WHERE name = '{guest}'")
    refused = lab.play("playbooks/stop_vm.yml", name=guest, force=True)
    assert not refused.ok and "half-way from node-2 to node-1" in refused.output, refused.output
    until(lambda: where(lab, guest) == {"node-1": "running"}, "the guest on its target alone")
    # What the module did after its controller was gone may be all of it, or all but the owner.
    result = move(lab, guest)
    assert result.ok, result.output
    assert row(lab, guest) == "node-1|running||||" and owner(lab, guest) == '{"node": "node-1"}'


def test_one_that_does_not_run_keeps_its_state(lab: Lab, idle: str) -> None:
    assert lab.play("playbooks/suspend_vm.yml", name=idle).ok
    result = move(lab, idle, node="node-2")
    assert result.ok and where(lab, idle) == {"node-2": "paused"}, result.output
    assert lab.play("playbooks/stop_vm.yml", name=idle, force=True).ok
    result = move(lab, idle, node="node-1")
    assert result.ok and where(lab, idle) == {"node-1": "shut off"}, result.output
    assert row(lab, idle) == "node-1|stopped||||"
    assert lab.play("playbooks/start_vm.yml", name=idle).ok


def test_a_move_that_was_cut_off_is_given_up(lab: Lab, idle: str) -> None:
    """As a controller leaves it that dies after the owner is shared and before libvirt moves anything."""
    moving = "state = 'migrating', spec = spec || '{\"moving_to\": \"node-2\"}'"
    lab.sql(f"UPDATE virtfleet.vm SET {moving} WHERE id = '{vm_id(lab, idle)}'")
    shared = '{"node": "node-1", "moving_to": "node-2"}'
    put = ["rados", "-p", POOL, "put", f"virtfleet.owner.{vm_id(lab, idle)}", "/dev/stdin"]
    lab.on("node-1", *put, stdin=shared)
    assert owner(lab, idle) == shared
    result = move(lab, idle, node="node-1")
    assert result.ok and f"keep_ownership {idle}" in result.output, result.output
    assert row(lab, idle) == "node-1|running||||" and owner(lab, idle) == '{"node": "node-1"}'
    assert lab.play("playbooks/suspend_vm.yml", name=idle).ok


def test_what_is_refused_leaves_it_as_it_was(lab: Lab, idle: str) -> None:
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"node": "nowhere"}, "node nowhere is none of node-1, node-2"),
        ({"node": "node-2", "post_copy": True}, "it needs encrypted=false"),
    ]
    for options, words in refusals:
        result = move(lab, idle, **options)
        assert not result.ok and words in result.output, result.output
        assert row(lab, idle).startswith("node-1|running||")
    lab.sql("UPDATE virtfleet.node SET state = 'cordoned' WHERE name = 'node-2'")
    try:
        result = move(lab, idle, node="node-2")
    finally:
        lab.sql("UPDATE virtfleet.node SET state = 'active' WHERE name = 'node-2'")
    assert not result.ok and "node-2: cordoned" in result.output, result.output
    # Somebody else's domain of that name.
    other = f"<domain type='qemu'><name>{idle}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
    lab.on("node-2", "virsh", "define", "/dev/stdin", stdin=other)
    try:
        result = move(lab, idle, node="node-2")
    finally:
        lab.on("node-2", "virsh", "undefine", idle)
    assert not result.ok and f"the domain {idle} on node-2" in result.output, result.output
    assert where(lab, idle) == {"node-1": "running"} and row(lab, idle).startswith("node-1|running||")


def test_a_target_that_is_silent_leaves_it_as_it_was(lab: Lab, idle: str) -> None:
    with lab.away("node-2"):
        result = move(lab, idle, node="node-2")
    assert not result.ok and "Node node-2 does not answer" in result.output, result.output
    assert row(lab, idle) == "node-1|running||Reach node node-2|unreachable|"
    lab.on("node-2", "systemctl", "kill", "--signal=STOP", "libvirtd.service")
    try:
        result = move(lab, idle, node="node-2")
    finally:
        lab.on("node-2", "systemctl", "kill", "--signal=CONT", "libvirtd.service")
    assert not result.ok and "did not answer within 10 s" in result.output, result.output
    assert row(lab, idle) == "node-1|running||Ask the target|unreachable|"
    assert where(lab, idle) == {"node-1": "running"} and owner(lab, idle) == '{"node": "node-1"}'
