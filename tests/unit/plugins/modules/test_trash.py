# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleted VMs: brought back whole, continued where that was cut off, and purged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import TrashedVolume
from ansible_collections.virtfleet.cloud.plugins.module_utils.run_trash import expired
from ansible_collections.virtfleet.cloud.tests.unit.doubles import NOON, World

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
EXISTING = {"name": "a", "id": ID, "node": "node-1"}
DISKS = [{"name": "data", "size_gib": 3}]
VM = {
    **EXISTING, "image": "img", "memory_mib": 128, "vcpus": 1, "disk_gib": 10,
    "networks": [{"mac": "52:54:00:12:34:56"}],
    "disks": DISKS,
}  # fmt: skip
ABSENT = {**EXISTING, "state": "absent", "force": True}
BACK = {**VM, "restore": True}

Runner = Callable[..., dict[str, Any]]


def test_an_undelete_brings_everything_back(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    before = dict(world.volumes)
    vm_module(**ABSENT)
    world.mutations.clear()
    check = vm_module(check=True, **BACK)
    assert world.mutations == []
    run = vm_module(**BACK)
    assert run["actions"] == check["actions"]
    assert set(run["actions"]) >= {"restore a.root", "restore a.seed", "restore a.data", "define a", "start a"}
    assert world.volumes == before and world.trash == {}
    assert not vm_module(**BACK)["changed"]


def test_what_was_restored_from_a_backup_is_taken_as_it_is(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    there = dict(world.volumes)
    vm_module(**ABSENT)
    # The trash may hold the same volumes as they were later, and others.
    world.trash["a.more"] = replace(world.trash["a.data"])
    world.volumes.update(there)
    world.owners[ID] = "node-1"
    result = vm_module(**VM, restored=True)
    assert result["actions"] == ["define a", "start a"]
    assert world.volumes == there and "a.more" in world.trash


def test_a_copy_keeps_its_disks_and_gets_a_seed(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    plain = world.volumes["a.seed"].seed_sha256
    vm_module(**ABSENT)
    volumes = {name: facts for name, facts in world.trash.items() if name != "a.seed"}
    world.volumes.update(volumes)
    world.owners[ID] = "node-1"
    assert vm_module(**VM, copied=True)["actions"] == ["write_seed a.seed", "define a", "start a"]
    assert world.volumes["a.seed"].seed_sha256 != plain


def test_killed_at_any_step_the_next_run_finishes(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    vm_module(**ABSENT)
    for step in [action.split()[0] for action in vm_module(check=True, **BACK)["actions"]]:
        world.fail_at = step
        with pytest.raises(KeyboardInterrupt):
            vm_module(**BACK)
    world.fail_at = None
    vm_module(**BACK)
    assert world.trash == {} and world.domains["a"].state == "running"


@pytest.mark.parametrize("gone", ["a.root", "a.seed", "a.data"])
def test_what_was_purged_is_named_and_nothing_is_done(vm_module: Runner, world: World, gone: str) -> None:
    vm_module(**VM)
    vm_module(**ABSENT)
    del world.trash[gone]
    world.mutations.clear()
    refused = vm_module(**BACK)
    assert refused["error"]["code"] == "not_found" and gone in refused["msg"]
    assert world.mutations == []


def test_what_was_restored_in_part_is_not_given_up(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    vm_module(**ABSENT)
    world.fail_at = "define"
    with pytest.raises(KeyboardInterrupt):
        vm_module(**BACK)
    world.fail_at = None
    del world.volumes["a.data"]
    refused = vm_module(**BACK)
    assert refused["error"]["code"] == "conflict" and "half-restored" in refused["msg"]


def test_the_volumes_of_another_vm_of_that_name_stay_in_the_trash(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    vm_module(**ABSENT)
    world.trash["a.root"] = replace(world.trash["a.root"], vm_id="00000000-0000-4000-8000-000000000000")
    assert "a.root" in vm_module(**BACK)["msg"]


def test_a_purge_takes_only_what_is_ours_and_expired(vm_module: Runner, trash_module: Runner, world: World) -> None:
    vm_module(**VM)
    vm_module(**ABSENT)
    world.trash["foreign"] = replace(world.trash["a.root"], vm_id=None)
    world.mutations.clear()
    check = trash_module(check=True)
    assert check["changed"] and world.mutations == [] and check["volumes"] == []
    run = trash_module()
    assert run["actions"] == check["actions"] and set(run["actions"]) == {
        "purge a.root",
        "purge a.seed",
        "purge a.data",
    }
    assert set(world.trash) == {"foreign"}
    assert not trash_module()["changed"]


def test_what_clones_hang_on_stays_whole_until_they_are_gone(
    vm_module: Runner, trash_module: Runner, world: World
) -> None:
    """A purge of both takes the clone first; one of the source alone names the clone and leaves all of the source."""
    vm_module(**VM)
    vm_module(**ABSENT)
    clone = replace(world.trash["a.data"], parent="a.data@one", vm_id="the clone's")
    world.volumes["b.data"] = clone
    for check in (True, False):
        world.mutations.clear()
        refused = trash_module(check=check)
        assert world.mutations == []
        if not check:
            assert refused["error"]["code"] == "conflict" and refused["error"]["problems"] == [
                "a.data has clones: pool/b.data"
            ]
    assert set(world.trash) == {"a.root", "a.seed", "a.data"}
    world.trash["b.data"] = world.volumes.pop("b.data")
    run = trash_module()
    assert run["actions"][0] == "purge b.data" and world.trash == {}


def test_a_retention_ends_when_it_says() -> None:
    kept = TrashedVolume("1", "a.root", ID, NOON, NOON)
    assert expired([kept], NOON - timedelta(seconds=1)) == ()
    assert expired([kept], NOON) == (kept,)
