# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The module virt_rbd_flatten through main(), and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import run, run_flatten
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.modules import virt_rbd_flatten
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph, World

Runner = Callable[..., dict[str, Any]]

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
ROOT = VolumeFacts(10 * GIB, "img:1@golden", ID, None, 1)


@pytest.fixture
def flatten_module(run_module: Runner, node_config: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Runner:
    def flatten(ceph: FakeCeph, volume: str, _seconds: float, progress: Callable[[int, int | None], None]) -> None:
        progress(1, 2)
        ceph.world.mutate("flatten")
        ceph.world.volumes[volume] = replace(ceph.world.volumes[volume], parent=None)

    monkeypatch.setattr(run, "Ceph", lambda *_unused: FakeCeph(world))
    monkeypatch.setattr(run_flatten, "flatten", flatten)
    world.volumes["a.root"] = ROOT
    return lambda check=False: run_module(
        virt_rbd_flatten.main, check, node_config=node_config, name="a", id=ID, node="node-1"
    )


def test_check_run_rerun_check(flatten_module: Runner, world: World) -> None:
    check = flatten_module(check=True)
    assert world.mutations == []
    run = flatten_module()
    assert check == run and run["changed"] and run["actions"] == ["flatten a.root"]
    assert run["diff"] == {"before": {"a.root": "img:1@golden"}, "after": {"a.root": None}}
    for again in (flatten_module(), flatten_module(check=True)):
        assert not again["changed"] and again["actions"] == []
    assert world.mutations == ["flatten"]


def test_a_clone_of_another_vm_is_flattened_with_its_data_disks(flatten_module: Runner, world: World) -> None:
    world.volumes |= {
        "a.root": replace(ROOT, parent="b.root@one"),
        "a.data": replace(ROOT, parent="b.data@one"),
        "a.own": replace(ROOT, parent=None),
        "a.other": replace(ROOT, vm_id="another"),
    }
    run = flatten_module()
    assert run["actions"] == ["flatten a.root", "flatten a.data"]
    assert run["diff"]["before"] == {"a.root": "b.root@one", "a.data": "b.data@one", "a.own": None}
    assert not flatten_module()["changed"]


@pytest.mark.parametrize(
    ("root", "owner", "code"),
    [
        (ROOT, "node-2", "in_use_elsewhere"),
        (None, None, "not_found"),
        (replace(ROOT, vm_id="another"), None, "conflict"),
        (replace(ROOT, vm_id=None), None, "conflict"),
    ],
)
def test_what_is_not_ours_is_left_alone(
    flatten_module: Runner, world: World, root: VolumeFacts | None, owner: str | None, code: str
) -> None:
    world.volumes = {"a.root": root} if root else {}
    world.owners = {ID: owner} if owner else {}
    assert flatten_module()["error"]["code"] == code
    assert world.mutations == []
