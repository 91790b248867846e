# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a VM that is there: sizes and data disks, while it runs and while it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, VolumeFacts
from ansible_collections.virtfleet.cloud.tests.unit.doubles import World

Runner = Callable[..., dict[str, Any]]

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
EXISTING = {"name": "a", "id": ID, "node": "node-1"}
VM = {
    **EXISTING,
    "image": "img",
    "memory_mib": 128,
    "vcpus": 1,
    "disk_gib": 10,
    "networks": [{"mac": "52:54:00:12:34:56"}],
}
DATA = {"name": "data", "size_gib": 3}
SIZES = {**EXISTING, "state": "present", "memory_mib": 128, "vcpus": 1, "disk_gib": 10}
ROOMY = {**VM, "memory_max_mib": 512, "vcpus_max": 4}
ROOMY_SIZES = {**SIZES, "memory_max_mib": 512, "vcpus_max": 4}

CHANGES = [
    ([VM], {**SIZES, "disk_gib": 20}, ["grow_online a.root"]),
    ([{**VM, "state": "present"}], {**SIZES, "disk_gib": 20}, ["grow a.root"]),
    ([ROOMY], {**ROOMY_SIZES, "memory_mib": 256, "vcpus": 2}, ["redefine a", "set_memory a", "set_vcpus a"]),
    ([VM], {**SIZES, "memory_mib": 256, "vcpus": 2}, ["redefine a"]),
    (
        [VM],
        {**SIZES, "memory_mib": 256, "allow_power_cycle": True},
        ["redefine a", "shut_down a", "start a"],
    ),
    ([{**VM, "state": "present"}], {**SIZES, "vcpus": 2}, ["redefine a"]),
    ([], {**VM, "disks": [DATA]}, None),
    ([VM], {**SIZES, "disks": [DATA]}, ["create_disk a.data", "attach a.data"]),
    ([{**VM, "disks": [DATA]}], {**SIZES, "disks": [{**DATA, "size_gib": 4}]}, ["grow_online a.data"]),
    ([{**VM, "disks": [DATA]}], {**SIZES, "disks": []}, ["detach a.data"]),
    ([{**VM, "disks": [DATA]}], {**SIZES, "disks": [], "remove_detached": True}, ["detach a.data", "trash a.data"]),
    ([{**VM, "disks": [DATA]}, {**SIZES, "disks": []}], {**SIZES, "disks": [DATA]}, ["attach a.data"]),
]


@pytest.mark.parametrize(("before", "wanted", "actions"), CHANGES)
def test_check_run_rerun_check(
    vm_module: Runner, world: World, before: list[dict[str, Any]], wanted: dict[str, Any], actions: list[str] | None
) -> None:
    for arguments in before:
        assert "failed" not in vm_module(**arguments)
    world.mutations.clear()
    check = vm_module(check=True, **wanted)
    assert world.mutations == []
    run = vm_module(**wanted)
    assert check["changed"] and run["changed"] and world.mutations
    assert actions is None or run["actions"] == actions
    assert [check[key] for key in ("actions", "diff", "vm")] == [run[key] for key in ("actions", "diff", "vm")]
    world.mutations.clear()
    for again in (vm_module(**wanted), vm_module(check=True, **wanted)):
        assert not again["changed"] and again["actions"] == []
        assert again["diff"]["before"] == again["diff"]["after"] == run["diff"]["after"]
        assert again["restart_required"] == run["restart_required"]
    assert world.mutations == []


def test_what_a_running_vm_cannot_take_needs_a_restart(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    assert not vm_module(**SIZES)["restart_required"]
    assert vm_module(**{**SIZES, "memory_mib": 256})["restart_required"]
    vm_module(**EXISTING, state="stopped", force=True)
    vm_module(**EXISTING, state="running")
    again = vm_module(**{**SIZES, "memory_mib": 256})
    assert (again["changed"], again["restart_required"]) == (False, False)


def test_a_suspended_vm_is_not_restarted(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    vm_module(**EXISTING, state="suspended")
    world.mutations.clear()
    refused = vm_module(**{**SIZES, "memory_mib": 256, "allow_power_cycle": True})
    assert refused["error"]["code"] == "needs_consent" and "suspended" in refused["msg"]
    assert world.mutations == []


def test_disks_are_never_shrunk(vm_module: Runner, world: World) -> None:
    vm_module(**{**VM, "disks": [DATA]})
    world.mutations.clear()
    for wanted in ({**SIZES, "disk_gib": 5}, {**SIZES, "disks": [{**DATA, "size_gib": 1}]}):
        refused = vm_module(**wanted)
        assert refused["error"]["code"] == "conflict" and "never shrunk" in refused["msg"]
    assert world.mutations == []


def test_a_volume_of_somebody_else_is_not_attached(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    world.volumes["a.data"] = VolumeFacts(3 * GIB, None, None, None, 0)
    refused = vm_module(**{**SIZES, "disks": [DATA]})
    assert refused["error"]["code"] == "conflict" and "a.data" in refused["msg"]
    assert "failed" not in vm_module(**{**SIZES, "disks": []})
    assert "a.data" in world.volumes


def test_what_others_attached_stays(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    domain = world.domains["a"]
    assert domain.defined
    foreign = replace(domain.defined, volumes={**domain.defined.volumes, "somebody.else": "sdz"})
    world.domains["a"] = replace(domain, defined=foreign, live=foreign)
    assert not vm_module(**{**SIZES, "disks": []})["changed"]


def test_a_guest_that_holds_its_disk_keeps_it(vm_module: Runner, world: World) -> None:
    vm_module(**{**VM, "disks": [DATA]})
    world.guest_obeys = False
    refused = vm_module(**{**SIZES, "disks": [], "remove_detached": True})
    assert refused["error"]["code"] == "timeout" and "Unmount" in refused["msg"]
    assert "a.data" in world.volumes and world.domains["a"].live and "a.data" in world.domains["a"].live.volumes


@pytest.mark.parametrize("detached", [False, True])
def test_data_disks_go_with_the_vm(vm_module: Runner, world: World, detached: bool) -> None:
    vm_module(**{**VM, "disks": [DATA]})
    if detached:
        vm_module(**{**SIZES, "disks": []})
    vm_module(**EXISTING, state="absent", force=True)
    assert world.volumes == {} and set(world.trash) == {"a.root", "a.seed", "a.data"}


@pytest.mark.parametrize("change", [{"disks": [DATA]}, {"disks": [DATA], "disk_gib": 20, "memory_mib": 256}])
def test_killed_at_any_step_the_next_run_finishes(vm_module: Runner, world: World, change: dict[str, Any]) -> None:
    vm_module(**VM)
    wanted = {**SIZES, **change}
    for step in [action.split()[0] for action in vm_module(check=True, **wanted)["actions"]]:
        world.fail_at = step
        with pytest.raises(KeyboardInterrupt):
            vm_module(**wanted)
    world.fail_at = None
    vm_module(**wanted)
    assert not vm_module(check=True, **wanted)["changed"]
