# SPDX-License-Identifier: GPL-3.0-or-later
"""Another seed, and none, through main()."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.tests.unit.doubles import World

Runner = Callable[..., dict[str, Any]]

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
EXISTING = {"name": "a", "id": ID, "node": "node-1"}
NETWORKS = [{"mac": "52:54:00:12:34:56"}]
VM = {
    **EXISTING, "image": "img", "memory_mib": 128, "vcpus": 1, "disk_gib": 10, "networks": NETWORKS,
    "user_data": '{"password": "canary-7f3a"}',
}  # fmt: skip
OTHER = {**EXISTING, "networks": NETWORKS, "instance_id": f"{ID}.1", "user_data": '{"password": "canary-9c1d"}'}
WIPED = {**EXISTING, "networks": NETWORKS, "state": "wiped"}
LOCKED = {**WIPED, "state": "locked"}


@pytest.mark.parametrize(
    ("vm_state", "wanted", "actions"),
    [
        ("running", OTHER, ["write_seed a.seed", "insert_seed a.seed"]),
        ("present", OTHER, ["write_seed a.seed"]),
        (
            "running",
            {**OTHER, "allow_power_cycle": True},
            ["write_seed a.seed", "insert_seed a.seed", "shut_down a", "start a"],
        ),
        (
            "running",
            {**OTHER, "allow_power_cycle": True, "force": True},
            ["write_seed a.seed", "insert_seed a.seed", "power_off a", "start a"],
        ),
        ("running", WIPED, ["wait_for_first_boot a", "write_seed a.seed", "insert_seed a.seed"]),
        ("running", {**WIPED, "force": True}, ["write_seed a.seed", "insert_seed a.seed"]),
        ("present", {**WIPED, "force": True}, ["write_seed a.seed"]),
        ("running", LOCKED, ["wait_for_first_boot a", "eject_seed a.seed"]),
        ("present", {**LOCKED, "force": True}, ["eject_seed a.seed"]),
    ],
)
def test_check_run_rerun_check(
    vm_module: Runner, seed_module: Runner, world: World, vm_state: str, wanted: dict[str, Any], actions: list[str]
) -> None:
    vm_module(**VM | {"state": vm_state})
    world.mutations.clear()
    check = seed_module(check=True, **wanted)
    assert world.mutations == []
    run = seed_module(**wanted)
    assert check["changed"] and run["changed"]
    assert check["actions"] == run["actions"] == actions
    assert check["diff"] == run["diff"]
    assert "canary" not in str(run)
    world.mutations.clear()
    for again in (seed_module(**wanted), seed_module(check=True, **wanted)):
        assert not again["changed"] and again["actions"] == [] and not again["restart_required"]
        assert again["diff"]["before"] == again["diff"]["after"] == run["diff"]["after"]
    assert world.mutations == []


def test_a_guest_that_runs_reads_it_when_it_boots_the_next_time(vm_module: Runner, seed_module: Runner) -> None:
    vm_module(**VM)
    assert seed_module(**OTHER)["restart_required"]
    vm_module(**EXISTING, state="stopped")
    assert not seed_module(**OTHER | {"instance_id": f"{ID}.2"})["restart_required"]


def test_what_it_was_made_with_is_no_change(vm_module: Runner, seed_module: Runner) -> None:
    vm_module(**VM)
    same = {**OTHER, "instance_id": ID, "user_data": VM["user_data"]}
    assert not seed_module(**same)["changed"]
    assert seed_module(**same | {"instance_id": f"{ID}.1"})["changed"]


def test_it_is_sealed_only_when_this_instance_has_booted(vm_module: Runner, seed_module: Runner, world: World) -> None:
    vm_module(**VM)
    seed_module(**OTHER)
    world.mutations.clear()
    world.guest_obeys = False
    for sealed in (WIPED, LOCKED):
        refused = seed_module(**sealed | {"instance_id": f"{ID}.1"})
        assert refused["error"]["code"] == "timeout"
    assert (world.mutations, world.first_boots) == ([], [f"{ID}.1", f"{ID}.1"])


@pytest.mark.parametrize("sealed", [WIPED, LOCKED])
def test_whether_a_vm_that_is_off_has_booted_is_not_known(
    vm_module: Runner, seed_module: Runner, sealed: dict[str, Any]
) -> None:
    vm_module(**VM | {"state": "present"})
    refused = seed_module(**sealed)
    assert refused["error"]["code"] == "needs_consent" and "first boot" in refused["msg"]


def test_a_locked_seed_comes_back_with_another(vm_module: Runner, seed_module: Runner, world: World) -> None:
    vm_module(**VM)
    seed_module(**LOCKED)
    assert all("a.seed" not in view.volumes for view in (world.domains["a"].defined, world.domains["a"].live) if view)
    seed_module(**OTHER)
    assert all("a.seed" in view.volumes for view in (world.domains["a"].defined, world.domains["a"].live) if view)


def test_killed_at_any_step_the_next_run_finishes(vm_module: Runner, seed_module: Runner, world: World) -> None:
    vm_module(**VM)
    for step in ("write_seed", "change_medium"):
        world.fail_at = step
        with pytest.raises(KeyboardInterrupt):
            seed_module(**OTHER)
    world.fail_at = None
    seed_module(**OTHER)
    assert not seed_module(**OTHER)["changed"]


def test_what_is_not_there_or_not_ours_is_left_alone(vm_module: Runner, seed_module: Runner, world: World) -> None:
    assert seed_module(**OTHER)["error"]["code"] == "not_found"
    vm_module(**VM)
    world.mutations.clear()
    assert seed_module(**OTHER | {"node": "node-2"})["error"]["code"] == "in_use_elsewhere"
    assert seed_module(**OTHER | {"id": "6a3e1d3c-6c0e-4b58-9c39-000000000000"})["error"]["code"] == "conflict"
    assert world.mutations == []
