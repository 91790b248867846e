# SPDX-License-Identifier: GPL-3.0-or-later
"""From observed and desired to the steps, and that a run which dies between any two of them converges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan import decide
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import (
    GIB,
    Build,
    Desired,
    DomainFacts,
    ImageFacts,
    Observed,
    Step,
    VolumeFacts,
)
from hypothesis import given
from hypothesis import strategies as st

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
OTHER = "00000000-0000-4000-8000-000000000000"
IMAGE = ImageFacts(2 * GIB, "golden")
NOTHING = Observed(None, None, None, IMAGE, None)
CREATE = Desired("a", ID, "node-1", "running", Build("img", 10, "seed-1"))
ROOT = VolumeFacts(10 * GIB, "img@golden", ID, None, 0)
SEED = VolumeFacts(1024, None, ID, "seed-1", 0)


def running(state: str = "running") -> Observed:
    return Observed(DomainFacts(ID, state, ID), ROOT, SEED, IMAGE, "node-1")


def after(step: Step, seen: Observed) -> Observed:
    """The world after one step of the plan."""
    if step.action == "take_ownership":
        return replace(seen, owner="node-1")
    if step.action == "release_ownership":
        return replace(seen, owner=None)
    if step.action == "clone":
        return replace(seen, root=VolumeFacts(2 * GIB, step.detail["source"], None, None, 0))
    if step.action == "grow" and seen.root:
        return replace(seen, root=replace(seen.root, size_bytes=step.detail["size_bytes"]))
    if step.action == "mark" and seen.root:
        return replace(seen, root=replace(seen.root, vm_id=ID))
    if step.action == "write_seed":
        return replace(seen, seed=SEED)
    if step.action in ("trash", "remove"):
        return replace(seen, root=None) if step.target.endswith(".root") else replace(seen, seed=None)
    if step.action == "undefine":
        return replace(seen, domain=None)
    states = {"define": "stopped", "start": "running", "resume": "running", "suspend": "suspended"}
    return replace(seen, domain=DomainFacts(ID, states.get(step.action, "stopped"), ID))


def test_a_create_from_nothing() -> None:
    plan = decide(CREATE, NOTHING)
    assert plan.actions == [
        "take_ownership a", "clone a.root", "grow a.root", "mark a.root", "write_seed a.seed", "define a", "start a",
    ]  # fmt: skip
    assert plan.before == {
        "state": "absent",
        "owner": None,
        "root": "absent",
        "seed": "absent",
        "hardware": None,
        "disks": {},
    }
    assert plan.after == {
        "state": "running",
        "owner": "node-1",
        "root": {"size_gib": "10", "parent": "img@golden"},
        "seed": "present",
        "hardware": None,
        "disks": {},
    }


@pytest.mark.parametrize(
    ("desired", "start"),
    [
        (CREATE, NOTHING),
        (replace(CREATE, state="present"), NOTHING),
        (replace(CREATE, state="absent", build=None), running()),
        (replace(CREATE, state="absent", build=None, purge=True), running("suspended")),
        (replace(CREATE, state="stopped", build=None), running()),
        (replace(CREATE, state="suspended", build=None), running()),
        (replace(CREATE, state="running", build=None), running("suspended")),
    ],
)
def test_a_run_cut_off_after_any_step_is_finished_by_the_next(desired: Desired, start: Observed) -> None:
    whole = decide(desired, start)
    assert whole.changed
    for done in range(len(whole.steps) + 1):
        seen = start
        for step in whole.steps[:done]:
            seen = after(step, seen)
        rest = decide(desired, seen)
        for step in rest.steps:
            seen = after(step, seen)
        again = decide(desired, seen)
        assert not again.changed
        assert again.before == again.after == whole.after


@pytest.mark.parametrize("state", ["running", "stopped", "suspended"])
def test_present_leaves_the_power_alone(state: str) -> None:
    assert decide(replace(CREATE, state="present"), running(state)).steps == ()


def test_stop_asks_the_guest_and_force_does_not() -> None:
    stop = replace(CREATE, state="stopped", build=None)
    assert decide(stop, running()).actions == ["shut_down a"]
    assert decide(replace(stop, force=True), running()).actions == ["power_off a"]


def test_delete_keeps_the_volumes_in_the_trash_unless_purged() -> None:
    delete = replace(CREATE, state="absent", build=None)
    assert decide(delete, running()).actions == [
        "shut_down_or_power_off a", "undefine a", "trash a.seed", "trash a.root", "release_ownership a",
    ]  # fmt: skip
    assert "remove a.root" in decide(replace(delete, purge=True), running()).actions


@pytest.mark.parametrize(
    ("change", "seen", "code"),
    [
        ({}, replace(NOTHING, owner="node-2"), "in_use_elsewhere"),
        ({}, replace(running(), domain=DomainFacts(OTHER, "running", OTHER)), "conflict"),
        ({}, replace(running(), domain=DomainFacts(ID, "running", None)), "conflict"),
        ({}, replace(NOTHING, root=replace(ROOT, vm_id=OTHER)), "conflict"),
        ({}, replace(NOTHING, seed=replace(SEED, vm_id=OTHER)), "conflict"),
        ({}, replace(NOTHING, root=replace(ROOT, vm_id=None, parent=None)), "conflict"),
        ({}, replace(NOTHING, root=replace(ROOT, vm_id=None, watchers=1)), "conflict"),
        ({}, replace(NOTHING, root=replace(ROOT, size_bytes=20 * GIB)), "conflict"),
        ({}, replace(NOTHING, image=None), "not_found"),
        ({"build": Build("img", 1, "s")}, NOTHING, "invalid"),
        ({"state": "paused"}, NOTHING, "invalid"),
        ({"build": None}, NOTHING, "not_found"),
        ({"state": "suspended"}, running("stopped"), "conflict"),
        ({"state": "stopped"}, running("suspended"), "needs_consent"),
        ({"state": "absent"}, replace(NOTHING, root=replace(ROOT, watchers=1)), "in_use_elsewhere"),
    ],
)
def test_what_is_refused(change: dict[str, Any], seen: Observed, code: str) -> None:
    with pytest.raises(VirtfleetError) as caught:
        decide(replace(CREATE, **change), seen)
    assert caught.value.code == code
    assert caught.value.hint


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


WORLDS = st.builds(
    Observed,
    domain=maybe(*(DomainFacts(ID, state, ID) for state in ("running", "suspended", "stopped"))),
    root=maybe(ROOT, replace(ROOT, size_bytes=2 * GIB), replace(ROOT, vm_id=None), replace(ROOT, vm_id=OTHER)),
    seed=maybe(SEED, replace(SEED, seed_sha256="seed-0"), replace(SEED, seed_sha256="")),
    image=maybe(IMAGE),
    owner=maybe("node-1", "node-2"),
)
WISHES = st.builds(
    Desired,
    name=st.just("a"),
    id=st.just(ID),
    node=st.just("node-1"),
    state=st.sampled_from(["present", "running", "stopped", "suspended", "absent"]),
    build=maybe(Build("img", 10, "seed-1"), Build("img", 1, "seed-1")),
    force=st.booleans(),
    purge=st.booleans(),
)


@given(desired=WISHES, seen=WORLDS)
def test_whatever_is_there_a_plan_is_refused_or_reaches_its_end(desired: Desired, seen: Observed) -> None:
    try:
        plan = decide(desired, seen)
    except VirtfleetError as refusal:
        assert refusal.message and refusal.hint
        return
    assert seen.owner != "node-2"
    assert all(volume is None or volume.vm_id != OTHER for volume in (seen.root, seen.seed))
    for step in plan.steps:
        seen = after(step, seen)
    again = decide(desired, seen)
    assert not again.changed
    assert again.before == plan.after
