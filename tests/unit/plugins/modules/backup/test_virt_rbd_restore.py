# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Restores through main(): check, run, rerun, check; cut off, in the way, damaged, full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, VolumeFacts
from ansible_collections.virtfleet.cloud.tests.unit.doubles_backup import (
    ID,
    NEW,
    BackupWorld,
    flip,
    gone,
    grown,
    same,
)

Runner = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("vm_id", [ID, NEW])
def test_a_restore_is_checked_run_rerun_checked(
    backup: Runner, restore: Runner, world: BackupWorld, vm_id: str
) -> None:
    backup("one")
    world.content["a.root"] = "changed"
    grown(world, "a.root", 20 * GIB)
    backup("two")
    wanted = {"name": "a", "id": ID}
    if vm_id == NEW:
        wanted = {"name": "b", "id": NEW, "source": "a"}
    else:
        gone(world)
    world.mutations.clear()
    check = restore(check=True, **wanted)
    assert world.mutations == []
    done = restore(**wanted)
    assert check["changed"] and done["changed"] and same(check, done) and done["backup"]["name"] == "two"
    name = wanted["name"]
    assert world.content[f"{name}.root"] == "changed" and world.content[f"{name}.data"] == "data"
    assert world.volumes[f"{name}.root"] == VolumeFacts(20 * GIB, None, vm_id, None, 0)
    # A new VM gets a seed of its own.
    seed = world.volumes.get(f"{name}.seed")
    assert (seed is None) == (vm_id == NEW) and (seed is None or seed.seed_sha256 == "digest of the seed")
    assert world.owners[vm_id] == "node-1"
    for again in (restore(**wanted), restore(check=True, **wanted)):
        assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]


def test_an_older_backup_can_be_chosen(backup: Runner, restore: Runner, world: BackupWorld) -> None:
    backup("one")
    world.content["a.root"] = "changed"
    backup("two")
    gone(world)
    assert restore(backup="one")["backup"]["name"] == "one" and world.content["a.root"] == "root"
    refused = restore(backup="two")
    assert refused["error"]["code"] == "conflict" and "not made from backup a/two" in refused["msg"]


@pytest.mark.parametrize("cut", ["take_ownership", "make a.data", "name a.data", "make a.root", "name a.seed"])
def test_a_restore_that_was_cut_off_is_continued(backup: Runner, restore: Runner, world: BackupWorld, cut: str) -> None:
    backup("one")
    gone(world)
    world.fail_at = cut
    with pytest.raises(KeyboardInterrupt):
        restore()
    world.fail_at = None
    assert restore()["changed"]
    assert world.content == {"a.data": "data", "a.root": "root", "a.seed": "seed"} and world.owners == {ID: "node-1"}
    assert not restore(check=True)["changed"]


def test_a_name_that_is_taken_is_refused_and_nothing_touched(
    backup: Runner, restore: Runner, world: BackupWorld
) -> None:
    backup("one")
    world.mutations.clear()
    before = dict(world.content)
    refused = restore()
    assert refused["error"]["code"] == "conflict" and "delete_vm.yml" in refused["error"]["hint"]
    assert len(refused["error"]["problems"]) == 3 and (world.mutations, world.content) == ([], before)
    assert restore(node="node-2")["error"]["code"] == "in_use_elsewhere"
    world.volumes["b.root"] = VolumeFacts(GIB, None, None, None, 0)
    refused = restore(name="b", id=NEW, source="a")
    assert refused["error"]["problems"] == ["volume b.root is there and was not made from backup a/one"]
    assert refused["untouched"] and world.mutations == []


def test_a_damaged_backup_is_refused_before_anything_is_touched(
    backup: Runner, restore: Runner, world: BackupWorld, place: Path
) -> None:
    backup("one")
    backup("two")
    flip(place / "a" / "one" / "root.rbd-diff")
    gone(world)
    world.mutations.clear()
    refused = restore()
    assert refused["error"]["code"] == "conflict" and "one/root.rbd-diff" in refused["msg"]
    assert refused["untouched"] and world.mutations == []


def test_a_full_pool_leaves_nothing_of_a_restore(backup: Runner, restore: Runner, world: BackupWorld) -> None:
    backup("one")
    gone(world)
    world.full = True
    failed = restore()
    assert failed["error"]["code"] == "no_capacity" and failed["untouched"]
    assert world.owners == {} and "a.root" not in world.volumes


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"backup": "none"}, "not_found", "no backup a/none"),
        ({"source": "z"}, "not_found", "no backup of a VM z"),
        ({"to": "/nowhere/at/all"}, "not_found", "mount it"),
        ({"to": "relative"}, "invalid", "neither an absolute path nor pool:NAME"),
        ({"to": "pool:libvirt-pool"}, "invalid", "lost with them"),
        ({"name": "A_"}, "invalid", "not a DNS label"),
    ],
)
def test_what_a_restore_cannot_be_made_of(
    backup: Runner, restore: Runner, arguments: dict[str, Any], code: str, words: str
) -> None:
    backup("one")
    refused = restore(**arguments)
    assert refused["error"]["code"] == code and words in refused["msg"] and refused["untouched"]
