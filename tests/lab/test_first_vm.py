# SPDX-License-Identifier: GPL-3.0-or-later
"""From nothing to a login, the life of a VM, and what is refused: on real Ceph, libvirt, PostgreSQL and Redis."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Lab
from .secret_watch import process_watch, refuse_seen

POOL = "libvirt-pool"
SMALL: dict[str, Any] = {"ram": 128, "cpu": 1, "disk": 2}


def volumes(lab: Lab) -> set[str]:
    return set(lab.on("node-1", "rbd", "ls", POOL).split())


def test_the_first_command_ends_with_a_login_and_the_list(lab: Lab) -> None:
    login = lab.up_output.split("== login")[1]
    assert "test-1" in login.splitlines()
    assert "10G" in login
    assert "unassigned" not in lab.up_output.split("== list")[1].split("== login")[0]


def test_the_volume_is_a_clone_grown_to_size_and_marked(lab: Lab, tmp_path: Path) -> None:
    info = json.loads(lab.on("node-1", "rbd", "info", f"{POOL}/test-1.root", "--format", "json"))
    assert info["size"] == 10 * 1024**3
    assert info["parent"]["image"] == "debian-13" and info["parent"]["snapshot"] == "golden"
    node = lab.vms(tmp_path)["test-1"]["Node"]
    uuid = lab.on(node, "virsh", "domuuid", "test-1").strip()
    assert lab.on("node-1", "rbd", "image-meta", "get", f"{POOL}/test-1.root", "virtfleet.vm_id").strip() == uuid
    assert "disable" in lab.on(node, "virsh", "dominfo", "test-1").split("Autostart:")[1].splitlines()[0]


def test_what_was_asked_for_is_kept_with_domain_and_volume(lab: Lab, tmp_path: Path) -> None:
    node = lab.vms(tmp_path)["test-1"]["Node"]
    digest = lab.on("node-1", "rbd", "image-meta", "get", f"{POOL}/test-1.root", "virtfleet.request_sha256").strip()
    assert f'request-sha256="{digest}"' in lab.on(node, "virsh", "dumpxml", "test-1").replace("'", '"')


def test_the_guest_is_in_the_inventory_and_answers(lab: Lab) -> None:
    inventory = str(lab.inventory.parent / "vms.virtfleet.yml")
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    for command, shown in {
        ("ansible-inventory", "--graph", "state_running"): "--test-1",
        ("ansible", "test-1", "-m", "ansible.builtin.ping"): "pong",
    }.items():
        done = subprocess.run(
            [*command, "-i", inventory],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0 and shown in done.stdout, done.stdout + done.stderr


def test_the_hosts_take_at_most_four_gib_without_guests(lab: Lab) -> None:
    script = """
for process in /proc/[0-9]*; do
    case $(cat "$process/comm" 2>/dev/null) in qemu*) continue;; esac
    awk '/^Pss:/ {print $2}' "$process/smaps_rollup" 2>/dev/null
done"""
    kib = {
        host: sum(map(int, lab.on(host, "sh", "-c", f"{script}; true").split()))
        for host in lab.hosts("ceph_osd") + lab.hosts("manager")
    }
    print({host: f"{size // 1024} MiB" for host, size in kib.items()})
    assert sum(kib.values()) <= 4 * 1024**2


def test_site_again_changes_nothing_and_shows_no_secret(lab: Lab) -> None:
    with process_watch() as processes:
        result = lab.play("playbooks/site.yml", "-vvv", "--diff")
    assert result.ok and result.unchanged, result.output
    refuse_seen(lab, result.output, processes)


def test_create_again_changes_nothing(lab: Lab) -> None:
    for arguments in ({"name": "test-1"}, {"name": "test-1", "disk": "10GiB", "ram": 1024, "wait": True}):
        result = lab.play("playbooks/create_vm.yml", **arguments)
        assert result.ok and result.unchanged, result.output


def test_create_with_other_values_is_refused(lab: Lab) -> None:
    result = lab.play("playbooks/create_vm.yml", name="test-1", ram=2048, disk=20)
    assert not result.ok
    assert "ram is 1024, not 2048" in result.output and "disk is 10, not 20" in result.output


def test_check_mode_reserves_and_makes_nothing(lab: Lab, tmp_path: Path) -> None:
    before = volumes(lab)
    result = lab.play("playbooks/create_vm.yml", "--check", "--diff", name="checked", **SMALL)
    assert result.ok and "debian-13@golden" in result.output, result.output
    assert volumes(lab) == before and "checked" not in lab.vms(tmp_path)


def test_the_life_of_a_vm(lab: Lab, tmp_path: Path) -> None:
    def step(playbook: str, state: str | None, **variables: Any) -> None:
        result = lab.play(f"playbooks/{playbook}.yml", name="life", **variables)
        assert result.ok, result.output
        again = lab.play(f"playbooks/{playbook}.yml", name="life", **variables)
        assert again.ok and again.unchanged, again.output
        assert lab.vms(tmp_path).get("life", {}).get("State") == state

    step("create_vm", "running", **SMALL)
    assert {"life.root", "life.seed"} <= volumes(lab)
    step("suspend_vm", "suspended")
    step("resume_vm", "running")
    # Its guest is still at its firmware, so it does not hear the request.
    refused = lab.play("playbooks/stop_vm.yml", name="life", timeout=3)
    assert not refused.ok and "force=true" in refused.output
    step("stop_vm", "stopped", force=True)
    step("start_vm", "running")
    step("delete_vm", None, timeout=1)
    assert not {"life.root", "life.seed"} & volumes(lab)
    trash = lab.on("node-1", "rbd", "trash", "ls", POOL)
    assert "life.root" in trash and "life.seed" in trash


def test_purge_removes_the_volumes(lab: Lab) -> None:
    assert lab.play("playbooks/create_vm.yml", name="purged", **SMALL).ok
    assert lab.play("playbooks/delete_vm.yml", name="purged", purge=True, force=True).ok
    assert "purged" not in lab.on("node-1", "rbd", "trash", "ls", POOL) + " ".join(volumes(lab))


def test_two_creates_of_one_name_make_one_vm(lab: Lab) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _n: lab.play("playbooks/create_vm.yml", name="race", **SMALL), range(2)))
    assert any(run.ok for run in runs), runs[0].output
    for run in runs:
        assert run.ok or "is being changed by" in run.output, run.output
    domains = lab.on("node-1", "virsh", "list", "--name").split() + lab.on("node-2", "virsh", "list", "--name").split()
    assert domains.count("race") == 1
    assert lab.play("playbooks/delete_vm.yml", name="race", purge=True, force=True).ok


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ["variable name is missing"]),
        ({"name": ""}, ["not a DNS label"]),
        ({"name": "{{ 7*7 }}"}, ["name '{{ 7*7 }}' is not a DNS label"]),
        ({"name": "<x>", "ram": -1, "disk": 1.5}, ["name '<x>' is not", "ram -1 is not", "disk 1.5 is not"]),
        ({"name": "$(reboot)", "ram": 0, "cpu": "x"}, ["not a DNS label", "ram", "cpu"]),
        (
            {"name": "Bad", "image": "nope", "node": "nowhere", "cpu": 0},
            ["name 'Bad' is not", "cpu 0 is not", "image nope is none of", "node nowhere is none of"],
        ),
        ({"name": "bad", "disk": 1}, ["smaller than image"]),
        ({"name": "bad", "ram": "1TiB"}, ["No node has room", "node-1", "node-2"]),
        ({"name": "bad", "user_data": "a: [canary-5d1"}, ["user_data is not valid YAML"]),
    ],
)
def test_bad_input_is_refused_before_anything_is_touched(
    lab: Lab, tmp_path: Path, variables: dict[str, Any], words: list[str]
) -> None:
    before = volumes(lab)
    result = lab.play("playbooks/create_vm.yml", **variables)
    assert not result.ok
    assert [word for word in words if word not in result.output] == []
    assert volumes(lab) == before and "bad" not in lab.vms(tmp_path)


def test_redis_is_only_a_cache(lab: Lab) -> None:
    lab.on("manager-1", "systemctl", "stop", "redis-server")
    try:
        result = lab.play("playbooks/show_vm.yml", name="test-1")
        assert result.ok, result.output
        result = lab.play("playbooks/suspend_vm.yml", name="test-1")
        assert result.ok and "Redis" in result.output, result.output
        assert lab.play("playbooks/resume_vm.yml", name="test-1").ok
    finally:
        lab.on("manager-1", "systemctl", "start", "redis-server")


def test_a_registry_that_is_down_is_named(lab: Lab) -> None:
    lab.on("manager-1", "systemctl", "stop", "postgresql.service")
    try:
        result = lab.play("playbooks/create_vm.yml", name="nobody", **SMALL)
        assert not result.ok and "PostgreSQL at" in result.output and "registry_host" in result.output
        assert not lab.play("playbooks/list_vms.yml").ok
    finally:
        lab.on("manager-1", "systemctl", "start", "postgresql.service")


def test_it_works_from_the_playbooks_directory(lab: Lab) -> None:
    result = lab.play("list_vms.yml", directory=ROOT / "playbooks")
    assert result.ok and "test-1" in result.output


def test_no_secret_is_shown_at_the_highest_verbosity(lab: Lab) -> None:
    secrets = (lab.inventory.parent / "group_vars" / "all" / "secrets.yml").read_text()
    values = [line.split(":", 1)[1].strip().strip("'\"") for line in secrets.splitlines() if ": " in line]
    key = lab.on(
        "node-1", "ceph-authtool", "-p", "-n", "client.libvirt", "/etc/ceph/ceph.client.libvirt.keyring"
    ).strip()
    user_data = {"chpasswd": {"users": [{"name": "debian", "password": "canary-9c2e"}]}}
    result = lab.play("playbooks/create_vm.yml", "-vvv", "--diff", name="quiet", user_data=user_data, **SMALL)
    assert result.ok, result.output
    leaked = [value for value in [*values, key, "canary-9c2e"] if len(value) >= 8 and value in result.output]
    assert leaked == []
    assert lab.play("playbooks/delete_vm.yml", name="quiet", purge=True, force=True).ok
