# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A VM cloned from a snapshot of another one: check, run, rerun, check; cut off at every step; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.module_utils.snapshot_plan import RbdSnapshot, Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import cloned_request
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import FakeStore, SnapshotWorld

SOURCE_ID = "11111111-2222-4333-8444-555555555555"
ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
DISKS = [{"name": "data", "size_gib": 3, "serial": "data-1"}]
SOURCE = {"name": "web-1", "id": SOURCE_ID}
CLONE = {
    "name": "a", "id": ID, "node": "node-1", "image": "img", "memory_mib": 128, "vcpus": 1, "disk_gib": 10,
    "networks": [{"mac": "52:54:00:12:34:56"}], "disks": DISKS, "source": SOURCE,
}  # fmt: skip

Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def world() -> SnapshotWorld:
    """A VM with a root volume and a data disk, and two snapshots of it."""
    world = SnapshotWorld(images={})
    world.volumes = {
        "web-1.root": VolumeFacts(5 * GIB, "img@golden", SOURCE_ID, None, 1),
        "web-1.data": VolumeFacts(3 * GIB, None, SOURCE_ID, None, 1),
        "web-1.seed": VolumeFacts(1024, None, SOURCE_ID, "seed", 1),
    }
    take(world, "one")
    take(world, "two")
    return world


def take(world: SnapshotWorld, name: str, done: bool = True) -> None:
    """Make a snapshot of the source."""
    volumes = ["web-1.data", "web-1.root"]
    FakeStore.create(store(world), volumes, name)
    world.records[name] = Record(tuple(volumes), done=done)
    world.mutations.clear()


def store(world: SnapshotWorld) -> FakeStore:
    from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph

    return FakeStore(FakeCeph(world))


def parents(world: SnapshotWorld) -> dict[str, str | None]:
    return {name: facts.parent for name, facts in world.volumes.items() if facts.vm_id == ID}


@pytest.mark.parametrize(("snapshot", "taken"), [(None, "two"), ("one", "one")])
def test_check_run_rerun_check(vm_module: Runner, world: SnapshotWorld, snapshot: str | None, taken: str) -> None:
    wanted = {**CLONE, "source": {**SOURCE, "snapshot": snapshot}}
    check = vm_module(check=True, **wanted)
    assert world.mutations == []
    run = vm_module(**wanted)
    assert [check[key] for key in ("actions", "diff", "vm")] == [run[key] for key in ("actions", "diff", "vm")]
    assert run["actions"] == [
        "take_ownership a", "clone_volume a.root", "clone_volume a.data", "write_seed a.seed", "define a", "start a",
    ]  # fmt: skip
    assert run["snapshot"] == check["snapshot"] == taken
    assert parents(world) == {"a.root": f"web-1.root@{taken}", "a.data": f"web-1.data@{taken}", "a.seed": None}
    assert [world.volumes[name].size_bytes for name in ("a.root", "a.data")] == [10 * GIB, 3 * GIB]
    world.mutations.clear()
    for again in (vm_module(**wanted), vm_module(check=True, **wanted)):
        assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"] == run["diff"]["after"]
    assert world.mutations == []


@pytest.mark.parametrize("newer", [False, True])
def test_killed_at_any_step_the_next_run_finishes_with_the_same_snapshot(
    vm_module: Runner, world: SnapshotWorld, newer: bool
) -> None:
    """Also where a newer snapshot was made meanwhile: all volumes are of one moment."""
    steps = ["take_ownership", "clone_volume", "name", "write_seed", "define", "start"]
    for step in steps:
        world.fail_at = step
        with pytest.raises(KeyboardInterrupt):
            vm_module(**CLONE)
        if newer and "a.root" in world.volumes:
            take(world, f"after-{step}")
    world.fail_at = None
    vm_module(**CLONE)
    assert not vm_module(check=True, **CLONE)["changed"]
    assert parents(world) == {"a.root": "web-1.root@two", "a.data": "web-1.data@two", "a.seed": None}
    assert store(world).world.volumes.keys() == {
        f"{vm}.{disk}" for vm in ("a", "web-1") for disk in ("root", "data", "seed")
    }


@pytest.mark.parametrize("cuts", [1, 2, 3, 4])
def test_a_cut_between_the_volumes_is_continued(
    vm_module: Runner, world: SnapshotWorld, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    """The nth change of the pool is the last one of the first run."""
    count = 0
    mutate = world.mutate

    def counting(what: str) -> None:
        nonlocal count
        if what in ("clone_volume", "name"):
            count += 1
            if count == cuts:
                raise KeyboardInterrupt
        mutate(what)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(world, "mutate", counting)
        vm_module(**CLONE)
    take(world, "three")
    result = vm_module(**CLONE)
    assert len({(parent or "").partition("@")[2] for name, parent in parents(world).items() if name != "a.seed"}) == 1
    assert result["snapshot"] in ("two", "three") and not vm_module(**CLONE)["changed"]


def test_a_clone_that_was_cut_off_goes_whole_when_it_is_deleted(vm_module: Runner, world: SnapshotWorld) -> None:
    world.fail_at = "name"
    with pytest.raises(KeyboardInterrupt):
        vm_module(**CLONE)
    world.fail_at = None
    gone = vm_module(name="a", id=ID, node="node-1", state="absent")
    assert gone["actions"] == [f"remove {ID}.a.root.making", "release_ownership a"]
    assert parents(world) == {} and world.owners == {}


def damage(world: SnapshotWorld, how: str) -> None:
    """What can be wrong with the source."""
    if how == "gone":
        world.volumes = {}
    elif how == "another VM":
        world.volumes = {name: replace(facts, vm_id="somebody") for name, facts in world.volumes.items()}
    elif how == "cut off":
        world.records = {name: replace(record, done=False) for name, record in world.records.items()}
    elif how == "foreign":
        world.records = {}
    elif how == "a volume is missing":
        del world.volumes["web-1.data"]
    elif how == "no snapshots":
        world.snapshots, world.records = {}, {}
    elif how == "larger then":
        world.snapshots["web-1.data"]["two"] = RbdSnapshot(9, 4 * GIB, "2026-11-24T08:15:00Z")


@pytest.mark.parametrize(
    ("how", "snapshot", "code", "said"),
    [
        ("gone", None, "not_found", "snapshot_vm.yml -e name=web-1"),
        ("another VM", None, "not_found", "no whole snapshot"),
        ("no snapshots", None, "not_found", "no whole snapshot"),
        ("foreign", None, "not_found", "no whole snapshot"),
        ("cut off", None, "not_found", "no whole snapshot"),
        ("", "three", "not_found", "There is no snapshot web-1@three"),
        ("foreign", "two", "conflict", "was not made by snapshot_vm.yml"),
        ("cut off", "two", "conflict", "is not whole"),
        ("a volume is missing", "two", "conflict", "is not whole (web-1.data)"),
        ("larger then", "two", "invalid", "disk data has 4 GiB in web-1@two, more than 3"),
    ],
)
def test_what_cannot_be_cloned_is_refused_and_nothing_is_done(
    vm_module: Runner, world: SnapshotWorld, how: str, snapshot: str | None, code: str, said: str
) -> None:
    damage(world, how)
    refused = vm_module(**{**CLONE, "source": {**SOURCE, "snapshot": snapshot}})
    assert refused["error"]["code"] == code and said in refused["msg"] and refused["untouched"]
    assert world.mutations == []


def test_a_disk_that_is_not_in_the_snapshot_is_refused(vm_module: Runner, world: SnapshotWorld) -> None:
    refused = vm_module(**{**CLONE, "disks": [*DISKS, {"name": "newer", "size_gib": 1}]})
    assert refused["error"]["problems"] == ["web-1.newer is not in it"]
    assert vm_module(**{**CLONE, "disks": []})["changed"]
    assert "a.data" not in world.volumes


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        (VolumeFacts(5 * GIB, "web-1.root@two", None, None, 0), "is not marked as this VM's"),
        (VolumeFacts(5 * GIB, "web-1.root@two", SOURCE_ID, None, 0), f"belongs to VM {SOURCE_ID}"),
        (VolumeFacts(5 * GIB, "web-1.root@one", ID, None, 0), "is a clone of web-1@one already"),
        (VolumeFacts(20 * GIB, "web-1.root@two", ID, None, 0), "never shrunk"),
    ],
)
def test_what_is_there_by_its_name_is_not_taken_for_it(
    vm_module: Runner, world: SnapshotWorld, volume: VolumeFacts, said: str
) -> None:
    world.volumes["a.root"] = volume
    refused = vm_module(**{**CLONE, "source": {**SOURCE, "snapshot": "two"}})
    assert refused["error"]["code"] == "conflict" and said in refused["msg"]
    assert world.mutations == []


ORIGIN = {
    "ram": 512, "ram_max": 1024, "cpu": 2, "cpu_max": 4, "disk": 5, "image": "img:1", "project": "shop",
    "disks": DISKS, "tags": ["web"], "protected": True, "node": "node-1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"memory_mib": 512, "memory_max_mib": 1024, "vcpus": 2, "vcpus_max": 4, "disk_gib": 5, "image": "img:1"}),
        ({}, {"project": "shop", "tags": (), "protected": False, "node": None}),
        ({"ram": 2048, "cpu": 1}, {"memory_mib": 2048, "memory_max_mib": 2048, "vcpus": 1, "vcpus_max": 1}),
        ({"disk": "8GiB", "project": "other"}, {"disk_gib": 8, "project": "other"}),
        ({"disks": []}, {"disks": ()}),
    ],
)
def test_a_clone_is_like_its_source_where_it_is_not_asked_to_be_otherwise(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    spec, problems = cloned_request(ORIGIN, {"name": "a", **given})
    assert problems == [] and {key: getattr(spec, key) for key in expected} == expected
    assert spec.given == {"name", *given}


def test_a_data_disk_keeps_its_serial_and_grows() -> None:
    spec, problems = cloned_request(ORIGIN, {"name": "a", "disks": [{"name": "data", "size": 4}]})
    assert problems == [] and [(disk.serial, disk.size_gib) for disk in spec.disks] == [("data-1", 4)]


def test_every_smaller_disk_is_named() -> None:
    _spec, problems = cloned_request(ORIGIN, {"name": "a", "disk": 4, "disks": [{"name": "data", "size": 1}]})
    assert [problem.split()[1] for problem in problems] == ["root", "data"]


def test_the_seed_of_a_clone_is_that_of_a_copy(vm_module: Runner, seed_module: Runner) -> None:
    vm_module(**CLONE)
    seed = {key: CLONE[key] for key in ("name", "id", "node", "networks", "disks") if key in CLONE}
    assert not seed_module(**seed, copied=True)["changed"]
    assert seed_module(**seed, copied=False)["changed"]
