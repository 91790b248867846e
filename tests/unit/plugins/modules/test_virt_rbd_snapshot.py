# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The module through main(): check, run, rerun, check; runs that are cut off; guests that are always let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import run, run_snapshot
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, DomainFacts, VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.module_utils.snapshot_plan import RbdSnapshot
from ansible_collections.virtfleet.cloud.plugins.modules import virt_rbd_snapshot, virt_rbd_snapshot_info, virt_rbd_vm
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import FakeFreezer, FakeStore, SnapshotWorld

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
VM = {"name": "a", "id": ID, "node": "node-1"}
ONE = {**VM, "snapshot": "one"}
BACK = {**ONE, "state": "rolled_back"}
GONE = {**ONE, "state": "absent"}
POWER = {**BACK, "allow_power_cycle": True}

Runner = Callable[..., dict[str, Any]]


def volume(vm_id: str = ID, watchers: int = 0) -> VolumeFacts:
    return VolumeFacts(10 * GIB, None, vm_id, None, watchers)


@pytest.fixture
def world() -> SnapshotWorld:
    """A running VM with two volumes, and one beside it whose name begins alike."""
    world = SnapshotWorld()
    world.volumes = {name: volume() for name in ("a.data", "a.root", "a.seed")}
    world.volumes["a.other"] = volume("somebody else's")
    world.volumes["ab.root"] = volume()
    world.domains["a"] = DomainFacts(ID, "running", ID)
    world.owners[ID] = "node-1"
    return world


@pytest.fixture
def snapshot(run_module: Runner, world: SnapshotWorld, node_config: str, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(run, "Ceph", lambda *_unused: FakeCeph(world))
    monkeypatch.setattr(run_snapshot, "SnapshotStore", FakeStore)
    monkeypatch.setattr(run_snapshot, "FreezingHypervisor", lambda _uri: FakeFreezer(world))

    def call(check: bool = False, main: Callable[[], None] = virt_rbd_snapshot.main, **arguments: Any) -> Any:
        return run_module(main, check, node_config=node_config, **arguments)

    return call


def power(world: SnapshotWorld, state: str) -> None:
    world.domains["a"] = replace(world.domains["a"], state=state)


def foreign(world: SnapshotWorld, name: str = "one", **facts: Any) -> None:
    """A snapshot of the root volume that somebody else made."""
    world.snapshots.setdefault("a.root", {})[name] = RbdSnapshot(99, 10 * GIB, "2026-01-01T00:00:00Z", **facts)


@pytest.mark.parametrize(
    ("before", "state", "wanted"),
    [
        ([], "running", ONE),
        ([], "stopped", ONE),
        ([], "suspended", ONE),
        ([ONE, {**VM, "snapshot": "two"}], "running", {**VM, "snapshot": "three", "keep": 2}),
        ([ONE], "running", GONE),
        ([ONE], "stopped", BACK),
    ],
)
def test_check_run_rerun_check(
    snapshot: Runner, world: SnapshotWorld, before: list[dict[str, Any]], state: str, wanted: dict[str, Any]
) -> None:
    for arguments in before:
        assert snapshot(**arguments)["changed"]
    world.write()
    power(world, state)
    world.mutations.clear()
    check = snapshot(check=True, **wanted)
    assert world.mutations == []
    done = snapshot(**wanted)
    assert check["changed"] and done["changed"] and world.mutations
    assert [check[key] for key in ("actions", "diff", "vm")] == [done[key] for key in ("actions", "diff", "vm")]
    world.mutations.clear()
    for again in (snapshot(**wanted), snapshot(check=True, **wanted)):
        assert not again["changed"] and again["actions"] == []
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
    assert world.mutations == []
    assert world.domains["a"].state == state and not world.frozen


@pytest.mark.parametrize(
    ("state", "agent", "freeze", "guest"),
    [
        ("running", True, "auto", "frozen"),
        ("running", True, "required", "frozen"),
        ("running", False, "auto", "paused"),
        ("running", True, "never", "paused"),
        ("stopped", True, "required", "stopped"),
        ("suspended", True, "auto", "suspended"),
    ],
)
def test_all_volumes_are_of_one_moment(
    snapshot: Runner, world: SnapshotWorld, state: str, agent: bool, freeze: str, guest: str
) -> None:
    power(world, state)
    world.agent_answers = agent
    result = snapshot(**ONE, freeze=freeze)
    assert result["snapshot"]["guest"] == guest and result["snapshot"]["frozen"] is (guest == "frozen")
    assert result["snapshot"]["volumes"] == ["a.data", "a.root"] and result["snapshot"]["state"] == "whole"
    assert world.then == {"a.data@one": "", "a.root@one": ""}
    assert world.domains["a"].state == state and not world.frozen
    assert set(world.snapshots) == {"a.data", "a.root"}


def test_one_volume_needs_no_pause(snapshot: Runner, world: SnapshotWorld) -> None:
    del world.volumes["a.data"]
    world.agent_answers = False
    assert snapshot(**ONE)["snapshot"]["guest"] == "running"
    assert "suspend" not in world.mutations


def test_a_freeze_that_is_required_and_not_possible_leaves_nothing(snapshot: Runner, world: SnapshotWorld) -> None:
    world.agent_answers = False
    result = snapshot(**ONE, freeze="required")
    assert result["error"]["code"] == "unreachable" and "freeze=auto" in result["msg"]
    assert world.records == {} and world.snapshots == {}


def test_without_a_name_it_is_the_time(snapshot: Runner) -> None:
    name = snapshot(**VM)["snapshot"]["name"]
    assert len(name) == len("20261124-081500z") and name.endswith("z")


@pytest.mark.parametrize("agent", [True, False])
def test_a_guest_is_let_go_when_ceph_fails(snapshot: Runner, world: SnapshotWorld, agent: bool) -> None:
    world.agent_answers = agent
    world.ceph_fails_at = "a.root"
    result = snapshot(**ONE)
    assert result["error"]["code"] == "unreachable"
    assert world.domains["a"].state == "running" and not world.frozen
    world.ceph_fails_at = None
    listing = snapshot(main=virt_rbd_snapshot_info.main, name="a", id=ID)["snapshots"]
    assert [(found["state"], found["missing"]) for found in listing] == [("incomplete", ["a.root"])]
    result = snapshot(**ONE)
    assert result["snapshot"]["state"] == "whole" and "remove_snapshot a@one" in result["actions"]


def test_a_guest_that_stays_frozen_is_told_with_what_failed_before(snapshot: Runner, world: SnapshotWorld) -> None:
    world.ceph_fails_at = "a.root"
    world.agent_thaws = False
    result = snapshot(**ONE)
    assert result["error"]["code"] == "timeout" and result["error"]["problems"] == ["Ceph did not answer"]
    world.ceph_fails_at, world.agent_thaws = None, True
    assert snapshot(**VM, snapshot="two")["actions"] == ["thaw a", "snapshot a@two"]
    assert not world.frozen


CUTS = ["freeze", "suspend", "create a.data", "create a.root", "thaw", "resume", "record done"]


@pytest.mark.parametrize("agent", [True, False])
@pytest.mark.parametrize("cut", CUTS)
def test_killed_at_any_moment_it_is_found_out_and_made_anew(
    snapshot: Runner, world: SnapshotWorld, cut: str, agent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.agent_answers = agent
    world.fail_at = cut

    def killed(*_unused: object) -> Any:
        raise KeyboardInterrupt

    # A process that is killed lets nothing go.
    with monkeypatch.context() as patch:
        for release in ("thaw", "resume"):
            patch.setattr(FakeFreezer, release, killed)
        try:
            snapshot(**ONE)
        except KeyboardInterrupt:
            pass
    world.fail_at = None
    assert all(found["state"] == "incomplete" for found in _list(snapshot))
    assert snapshot(**ONE)["snapshot"]["state"] == "whole"
    assert world.domains["a"].state == "running" and not world.frozen
    assert world.then["a.data@one"] == world.then["a.root@one"]
    assert not snapshot(check=True, **ONE)["changed"]


def _list(snapshot: Runner) -> list[dict[str, Any]]:
    listing: list[dict[str, Any]] = snapshot(main=virt_rbd_snapshot_info.main, name="a", id=ID)["snapshots"]
    return listing


@pytest.mark.parametrize("cut", ["shut_down", "roll_back a.data", "roll_back a.root", "start"])
def test_a_rollback_that_is_cut_off_is_finished_and_the_vm_started(
    snapshot: Runner, world: SnapshotWorld, cut: str
) -> None:
    snapshot(**ONE)
    world.write()
    world.fail_at = cut
    with pytest.raises(KeyboardInterrupt):
        snapshot(**POWER)
    world.fail_at = None
    # The registry says that it is running, as nobody recorded anything else.
    result = snapshot(**POWER, start=True)
    assert result["vm"]["state"] == world.domains["a"].state == "running"
    assert world.content["a.root"] == world.then["a.root@one"] and world.content["a.data"] == world.then["a.data@one"]


def test_a_rollback_keeps_a_volume_that_was_grown_at_its_size(snapshot: Runner, world: SnapshotWorld) -> None:
    power(world, "stopped")
    snapshot(**ONE)
    world.volumes["a.root"] = replace(world.volumes["a.root"], size_bytes=20 * GIB)
    world.content["a.root"] = "newer"
    assert snapshot(**BACK)["actions"] == ["roll_back a.root@one"]
    assert world.volumes["a.root"].size_bytes == 20 * GIB


def test_a_guest_that_does_not_shut_down_is_cut_off_as_it_was_consented(snapshot: Runner, world: SnapshotWorld) -> None:
    snapshot(**ONE)
    world.guest_obeys = False
    assert snapshot(**POWER, shutdown_timeout=1)["vm"]["state"] == "running"
    assert "power_off" in world.mutations


def test_keep_removes_our_oldest_and_what_was_cut_off_and_nobody_elses(snapshot: Runner, world: SnapshotWorld) -> None:
    foreign(world, "by-hand")
    for name in ("one", "two", "three"):
        snapshot(**VM, snapshot=name)
    world.ceph_fails_at = "a.root"
    snapshot(**VM, snapshot="torn")
    world.ceph_fails_at = None
    world.snapshots["a.root"]["one"] = replace(world.snapshots["a.root"]["one"], clones=("pool/b.root",))
    result = snapshot(**VM, snapshot="four", keep=2)
    assert set(world.snapshots["a.root"]) == {"by-hand", "one", "three", "four"}
    assert "torn" not in world.snapshots["a.data"] and set(world.records) == {"one", "three", "four"}
    assert "pool/b.root" in str(result["warnings"])


REFUSED: list[tuple[dict[str, Any], Callable[[SnapshotWorld], object], str, str]] = [
    ({"snapshot": "A_b", "keep": 0}, lambda world: None, "invalid", "keep 0"),
    ({"snapshot": "{{ x }}"}, lambda world: None, "invalid", "not a DNS label"),
    ({"snapshot": "one"}, foreign, "conflict", "a.root@one"),
    ({"snapshot": "one", "state": "absent"}, foreign, "conflict", "not made by snapshot_vm.yml"),
    ({"snapshot": "one", "state": "rolled_back"}, foreign, "conflict", "not made by snapshot_vm.yml"),
    ({"snapshot": "no", "state": "rolled_back"}, lambda world: None, "not_found", "list_snapshots.yml"),
    ({}, lambda world: world.owners.update({ID: "node-2"}), "in_use_elsewhere", "node-2"),
    ({}, lambda world: setattr(world, "hangs", True), "unreachable", "does not hold a.root open"),
    ({}, lambda world: world.domains.pop("a"), "not_found", "create_vm.yml"),
    ({}, lambda world: world.volumes.pop("a.root"), "not_found", "create_vm.yml"),
    ({}, lambda world: world.domains.update(a=DomainFacts(ID, "running", None)), "conflict", "not that of VM"),
]


@pytest.mark.parametrize(("arguments", "arrange", "code", "words"), REFUSED)
def test_what_is_refused(
    snapshot: Runner,
    world: SnapshotWorld,
    arguments: dict[str, Any],
    arrange: Callable[[SnapshotWorld], object],
    code: str,
    words: str,
) -> None:
    arrange(world)
    result = snapshot(**VM, **arguments)
    assert result["failed"] and result["error"]["code"] == code and result["error"]["hint"]
    assert words in result["msg"]
    assert world.mutations == []


def clone(world: SnapshotWorld) -> None:
    world.snapshots["a.data"]["one"] = replace(world.snapshots["a.data"]["one"], clones=("pool/b.root",))


def pin(world: SnapshotWorld) -> None:
    world.snapshots["a.data"]["one"] = replace(world.snapshots["a.data"]["one"], protected=True)


def suspend(world: SnapshotWorld) -> None:
    power(world, "suspended")


def watch(world: SnapshotWorld) -> None:
    power(world, "stopped")
    world.volumes["a.data"] = volume(watchers=1)


@pytest.mark.parametrize(
    ("arguments", "arrange", "code", "words"),
    [
        (GONE, clone, "conflict", "a.data@one has clones: pool/b.root"),
        (GONE, pin, "conflict", "rbd snap unprotect"),
        (BACK, lambda world: None, "needs_consent", "allow_power_cycle=true"),
        (POWER, suspend, "needs_consent", "force=true"),
        (BACK, watch, "in_use_elsewhere", "a.data is open"),
        (BACK, lambda world: world.volumes.update({"a.new": volume()}), "conflict", "a.new is newer"),
        (BACK, lambda world: world.volumes.pop("a.data"), "conflict", "a.data is missing"),
    ],
)
def test_what_is_refused_of_a_snapshot_that_is_there(
    snapshot: Runner,
    world: SnapshotWorld,
    arguments: dict[str, Any],
    arrange: Callable[[SnapshotWorld], object],
    code: str,
    words: str,
) -> None:
    snapshot(**ONE)
    arrange(world)
    world.mutations.clear()
    result = snapshot(**arguments)
    assert result["failed"] and result["error"]["code"] == code and result["error"]["hint"]
    assert words in result["msg"]
    assert world.mutations == []


def test_foreign_snapshots_are_shown_as_such(snapshot: Runner, world: SnapshotWorld) -> None:
    foreign(world, "by-hand")
    snapshot(**ONE)
    assert {found["name"]: found["state"] for found in _list(snapshot)} == {"by-hand": "foreign", "one": "whole"}


PURGE = {**VM, "state": "absent", "purge": True, "main": virt_rbd_vm.main}


def test_a_purge_removes_our_snapshots_first(snapshot: Runner, world: SnapshotWorld) -> None:
    snapshot(**ONE)
    actions = snapshot(**PURGE)["actions"]
    assert actions.index("remove_snapshots a.root") + 1 == actions.index("remove a.root")
    assert "a.root" not in world.volumes and world.snapshots["a.root"] == {}


@pytest.mark.parametrize(
    ("facts", "words"), [({}, "not made by snapshot_vm.yml"), ({"clones": ("pool/b.root",)}, "has clones: pool/b.root")]
)
def test_a_purge_is_refused_before_anything_where_snapshots_are_others(
    snapshot: Runner, world: SnapshotWorld, facts: dict[str, Any], words: str
) -> None:
    foreign(world, **facts)
    result = snapshot(**PURGE)
    assert result["error"]["code"] == "conflict" and words in result["msg"] and "trash" in result["error"]["hint"]
    assert world.mutations == []


def test_the_trash_takes_volumes_with_their_snapshots(snapshot: Runner, world: SnapshotWorld) -> None:
    snapshot(**ONE)
    assert "trash a.root" in snapshot(**{**PURGE, "purge": False})["actions"]
