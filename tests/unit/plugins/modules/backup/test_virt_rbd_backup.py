# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Backups through main(), with a real directory: check, run, rerun, check; cut off, full, damaged."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import (
    backup_directory,
)
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, DomainFacts, VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.modules import (
    virt_rbd_snapshot,
)
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph
from ansible_collections.virtfleet.cloud.tests.unit.doubles_backup import (
    ID,
    NEW,
    REQUEST,
    VM,
    BackupWorld,
    bases,
    flip,
    gone,
    same,
    states,
)
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import FakeStore

Runner = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ([], {"backup": "one"}),
        (["one"], {"backup": "two"}),
        (["one", "two"], {"backup": "three", "kind": "full", "keep": 1}),
        (["one", "two"], {"backup": "two", "state": "absent"}),
    ],
)
def test_check_run_rerun_check(backup: Runner, world: BackupWorld, before: list[str], wanted: dict[str, Any]) -> None:
    for name in before:
        assert backup(name)["changed"]
        world.write()
    world.mutations.clear()
    check = backup(check=True, **wanted)
    assert world.mutations == []
    done = backup(**wanted)
    assert check["changed"] and done["changed"] and same(check, done)
    world.mutations.clear()
    for again in (backup(**wanted), backup(check=True, **wanted)):
        assert not again["changed"] and again["actions"] == []
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
    assert world.mutations == []
    assert world.domains["a"].state == "running" and not world.frozen


def test_a_full_one_then_what_changed_and_one_snapshot_stays(
    backup: Runner, world: BackupWorld, place: Path, info: Runner
) -> None:
    first = backup("one")
    assert first["backup"]["kind"] == "full" and first["backup"]["guest"] == "frozen"
    assert first["backup"]["volumes"] == ["data", "root", "seed"] and first["vm"]["state"] == "running"
    world.content["a.root"] = "root, changed"
    second = backup("two")["backup"]
    assert (second["kind"], second["parent"], second["reason"]) == ("incremental", "one", "")
    assert bases(world) == ["backup-two"] and list(world.records) == list(world.snapshots["a.root"])
    manifest = json.loads((place / "a" / "two" / "manifest.json").read_text())
    assert manifest["vm"] == {"name": "a", "id": ID, "mac": VM["mac"], "request": REQUEST}
    # The seed is always written in full; what did not change takes no room.
    sizes = {part["disk"]: part["bytes"] for part in manifest["parts"]}
    assert b"seed" in (place / "a" / "two" / "seed.rbd-diff").read_bytes()
    assert sizes["data"] < sizes["root"] == (place / "a" / "two" / "root.rbd-diff").stat().st_size
    assert info(name="a", verify=True)["backups"] == backup("two")["backups"]


def test_modes_are_those_of_secrets(backup: Runner, place: Path) -> None:
    backup("one")
    found = [place / "a", *(place / "a").rglob("*")]
    assert {(path.is_dir(), path.stat().st_mode & 0o777) for path in found} == {(True, 0o700), (False, 0o600)}
    assert {path.name for path in (place / "a" / "one").iterdir()} == {
        "data.rbd-diff", "root.rbd-diff", "seed.rbd-diff", "manifest.json",
    }  # fmt: skip


WHY: list[tuple[dict[str, Any], Callable[[BackupWorld, Path], object], str]] = [
    ({"kind": "full"}, lambda world, place: None, "it was asked for"),
    ({"full_every": 1}, lambda world, place: None, "full_every"),
    ({}, lambda world, place: (place / "a" / "one" / "root.rbd-diff").unlink(), "one/root.rbd-diff is not there"),
    ({}, lambda world, place: world.snapshots["a.data"].clear(), "is not there any more"),
    ({}, lambda world, place: (place / "a" / "one" / "manifest.json").write_text("x"), "none of this VM yet"),
]


@pytest.mark.parametrize(("arguments", "arrange", "reason"), WHY)
def test_a_full_one_says_why(
    backup: Runner,
    world: BackupWorld,
    place: Path,
    arguments: dict[str, Any],
    arrange: Callable[[BackupWorld, Path], object],
    reason: str,
) -> None:
    backup("one")
    arrange(world, place)
    made = backup("two", **arguments)["backup"]
    assert made["kind"] == "full" and reason in made["reason"] and made["parent"] is None


def test_an_incremental_one_is_refused_where_it_cannot_be(backup: Runner, world: BackupWorld) -> None:
    world.mutations.clear()
    refused = backup("one", kind="incremental")
    assert refused["error"]["code"] == "conflict" and "there is none of this VM yet" in refused["msg"]
    assert world.mutations == []
    backup("one")
    assert backup("two", kind="incremental", full_every=1)["backup"]["kind"] == "incremental"


def test_a_snapshot_of_the_same_name_that_was_made_later_is_no_base(backup: Runner, world: BackupWorld) -> None:
    backup("one")
    (name,) = world.snapshots["a.root"]
    store = FakeStore(FakeCeph(world))
    store.remove("a.root", name)
    store.create(["a.root"], name)
    assert backup("two")["backup"]["kind"] == "full"


def test_every_so_many_is_a_full_one(backup: Runner) -> None:
    for name in ("b1", "b2", "b3", "b4", "b5"):
        result = backup(name, full_every=2)
    assert list(states(result).values()) == ["full", "incremental", "full", "incremental", "full"]


def test_a_disk_that_is_new_is_in_full_and_one_that_is_gone_is_not_missed(
    backup: Runner, restore: Runner, world: BackupWorld
) -> None:
    backup("one")
    world.volumes["a.more"] = VolumeFacts(GIB, None, ID, None, 0)
    world.content["a.more"] = "more"
    del world.volumes["a.data"], world.snapshots["a.data"]
    made = backup("two")["backup"]
    assert made["kind"] == "incremental" and made["volumes"] == ["more", "root", "seed"]
    gone(world)
    assert restore()["actions"] == [
        "take_ownership a", "restore_volume a.more", "restore_volume a.root", "restore_volume a.seed",
    ]  # fmt: skip
    assert world.content["a.more"] == "more"


def test_backups_to_two_places_do_not_take_each_others_snapshots(
    backup: Runner, world: BackupWorld, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for _twice in range(2):
        for number, to in enumerate((tmp_path / "backup", other)):
            result = backup(f"b{_twice}-{number}", to=str(to))
    assert result["backup"]["kind"] == "incremental" and bases(world) == ["backup-b1-0", "backup-b1-1"]


def test_keep_of_snapshots_leaves_those_of_backups(
    backup: Runner, run_module: Runner, node_config: str, world: BackupWorld
) -> None:
    backup("one")
    vm = {key: VM[key] for key in ("name", "id", "node")}
    for name in ("x", "y"):
        run_module(virt_rbd_snapshot.main, node_config=node_config, snapshot=name, keep=1, **vm)
    assert sorted(world.snapshots["a.root"])[1:] == ["y"] and bases(world)[-1] == "backup-one"


def test_retention_keeps_what_is_needed(backup: Runner, info: Runner) -> None:
    for name in ("b1", "b2", "b3", "b4", "b5"):
        result = backup(name, full_every=3, keep=2)
    # The fourth is a full one; the newest two are it and what builds on it.
    assert states(result) == {"b4": "full", "b5": "incremental"}
    assert info(verify=True)["backups"] and "failed" not in info(verify=True)


CUTS = ["create a.data", "create a.root", "record done", "read a.data", "read a.root", "read a.seed"]


@pytest.mark.parametrize("cut", CUTS)
def test_killed_at_any_moment_it_is_no_backup_and_the_next_one_clears_up(
    backup: Runner, info: Runner, world: BackupWorld, place: Path, cut: str
) -> None:
    backup("one")
    world.write()
    world.fail_at = cut
    with pytest.raises(KeyboardInterrupt):
        backup("two")
    world.fail_at = None
    listed = states(info(name="a"))
    assert listed.pop("two", "partial") == "partial" and listed == {"one": "full"}
    done = backup("three")
    assert states(done) == {"one": "full", "three": "incremental"} and done["backup"]["parent"] == "one"
    assert bases(world) == ["backup-three"] and len(world.records) == 1
    assert sorted(path.name for path in (place / "a").iterdir()) == ["one", "three"]
    assert "failed" not in info(verify=True)


@pytest.mark.parametrize("cut", CUTS)
def test_killed_the_same_again_makes_it_as_it_is_now(
    backup: Runner, restore: Runner, world: BackupWorld, cut: str
) -> None:
    world.fail_at = cut
    with pytest.raises(KeyboardInterrupt):
        backup("one")
    world.fail_at = None
    world.content["a.root"] = "newer"
    assert states(backup("one")) == {"one": "full"}
    gone(world)
    restore()
    assert world.content["a.root"] == "newer"


def full(monkeypatch: pytest.MonkeyPatch, code: int = errno.ENOSPC) -> None:
    def write(_target: int, _part: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(backup_directory.os, "write", write)


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, "no_capacity"), (errno.EIO, "backend")])
def test_a_place_that_is_full_is_said_and_all_is_as_before(
    backup: Runner, world: BackupWorld, place: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: str
) -> None:
    backup("one")
    before = bases(world), sorted(place.rglob("*"))
    with monkeypatch.context() as patch:
        full(patch, code)
        failed = backup("two")
    assert failed["error"]["code"] == error and str(place) in failed["msg"] and failed["error"]["hint"]
    assert (bases(world), sorted(place.rglob("*"))) == before and len(world.records) == 1
    assert backup("two")["backup"]["kind"] == "incremental"


def test_a_source_that_fails_leaves_all_as_before(
    backup: Runner, world: BackupWorld, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ceph_fails_at = "a.root"
    failed = backup("one")
    assert failed["error"]["code"] == "unreachable" and not world.frozen
    assert list(place.iterdir()) == [] and not any(world.snapshots.values()) and world.records == {}


def test_everything_that_is_damaged_is_said_at_once(backup: Runner, info: Runner, place: Path) -> None:
    for name in ("one", "two", "three"):
        backup(name)
    flip(place / "a" / "one" / "root.rbd-diff")
    (place / "a" / "one" / "data.rbd-diff").unlink()
    (place / "a" / "two" / "seed.rbd-diff").write_bytes(b"short")
    result = info(name="a", verify=True)
    assert result["error"]["code"] == "conflict" and len(result["error"]["problems"]) == 3
    for words in ("one/root.rbd-diff: it has the SHA-256", "one/data.rbd-diff is not there", "has 5 bytes, not"):
        assert words in result["msg"]
    shown = {found["name"]: found["state"] for found in info(name="a")["backups"]}
    assert shown == {"one": "damaged", "two": "damaged", "three": "damaged"}


def test_streams_that_were_swapped_are_found_out(backup: Runner, info: Runner, place: Path) -> None:
    backup("one")
    one = place / "a" / "one"
    manifest = json.loads((one / "manifest.json").read_text())
    for part in manifest["parts"]:
        part["size_bytes"] += 1
    (one / "manifest.json").write_text(json.dumps(manifest))
    assert "it is of another volume or snapshot" in info(backup="one", name="a", verify=True)["msg"]


def test_the_backups_of_another_vm_that_had_the_name_stay(backup: Runner, restore: Runner, world: BackupWorld) -> None:
    backup("one")
    gone(world)
    world.volumes = {"a.root": VolumeFacts(GIB, None, NEW, None, 0)}
    world.content = {"a.root": "another"}
    world.domains["a"] = DomainFacts(NEW, "stopped", NEW)
    world.owners[NEW] = "node-1"
    made = backup("two", id=NEW, keep=1)
    assert states(made) == {"one": "full", "two": "full"} and made["backup"]["guest"] == "stopped"
    refused = backup("one", id=NEW)
    assert refused["error"]["code"] == "conflict" and ID in refused["msg"]
    gone(world)
    restore(backup="one")
    assert world.content["a.root"] == "root"


def _cut_off(_path: Path) -> None:
    raise KeyboardInterrupt


def test_what_was_removed_half_is_cut_off_and_not_a_backup(
    backup: Runner, info: Runner, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup("one")
    monkeypatch.setattr(backup_directory.shutil, "rmtree", _cut_off)
    with pytest.raises(KeyboardInterrupt):
        backup("one", state="absent")
    monkeypatch.undo()
    assert [path.name for path in (place / "a").iterdir()] == ["one.partial"]


def test_all_vms_of_a_place_are_listed(backup: Runner, info: Runner, place: Path) -> None:
    backup("one")
    (place / "lost+found").mkdir()
    (place / "note.txt").touch()
    (place / "b" / "torn.partial").mkdir(parents=True)
    assert {(found["vm"], found["name"]): found["state"] for found in info()["backups"]} == {
        ("a", "one"): "whole", ("b", "torn"): "partial",
    }  # fmt: skip
    assert info(name="a", newest=True)["chosen"]["vm"]["mac"] == VM["mac"]
