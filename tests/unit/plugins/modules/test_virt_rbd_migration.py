# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Both modules of a move through main(): check, run, rerun; runs that are cut off; a move that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import run, run_migration
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, DomainFacts, VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.modules import virt_rbd_migration, virt_rbd_migration_target
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph, World
from ansible_collections.virtfleet.cloud.tests.unit.doubles_migration import FakeMigrationHost, FakeOwners

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
VM = {"name": "a", "id": ID}

Runner = Callable[..., dict[str, Any]]


@dataclass
class Cloud:
    """Two nodes, and the modules of a move on them as the playbook runs them."""

    run_module: Runner
    node_config: str
    monkeypatch: pytest.MonkeyPatch
    source: World
    target: World = field(default_factory=World)
    move_fails: bool = False

    def move(self, check: bool = False, to: str = "node-2", **options: Any) -> dict[str, Any]:
        arguments = VM | {"node_config": self.node_config}
        answered: dict[str, Any] = {}
        if to != "node-1":
            self._on(self.target, self.source)
            target = self.run_module(virt_rbd_migration_target.main, check, **arguments)
            answered = {"target_facts": target["target_facts"], "target_address": "192.0.2.2"}
        self._on(self.source, self.target)
        arguments |= answered | options
        return self.run_module(virt_rbd_migration.main, check, node="node-1", target=to, **arguments)

    def _on(self, node: World, other: World) -> None:
        self.monkeypatch.setattr(run, "Ceph", lambda *_unused: FakeCeph(self.source))
        self.monkeypatch.setattr(
            run_migration, "MigrationHost", lambda _uri: FakeMigrationHost(node, other, self.move_fails)
        )


@pytest.fixture
def cloud(run_module: Runner, world: World, node_config: str, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    world.owners[ID] = "node-1"
    world.volumes["a.root"] = VolumeFacts(GIB, None, ID, None, 1)
    world.domains["a"] = DomainFacts(ID, "running", ID)
    cloud = Cloud(run_module, node_config, monkeypatch, world)
    monkeypatch.setattr(run_migration, "OwnerStore", FakeOwners)
    monkeypatch.setattr(run_migration.os.path, "isdir", lambda _path: True)
    return cloud


@pytest.mark.parametrize("state", ["running", "suspended", "stopped"])
def test_check_run_rerun(cloud: Cloud, state: str) -> None:
    cloud.source.domains["a"] = DomainFacts(ID, state, ID)
    check = cloud.move(check=True)
    assert cloud.source.mutations == []
    run = cloud.move()
    assert [check[key] for key in ("changed", "actions", "diff", "vm")] == [
        run[key] for key in ("changed", "actions", "diff", "vm")
    ]
    assert run["vm"]["node"] == "node-2" and run["vm"]["state"] == state and not run["vm"]["address_kept"]
    assert "a" not in cloud.source.domains and cloud.target.domains["a"].state == state
    assert cloud.source.owners[ID] == "node-2"
    again = cloud.move()
    assert not again["changed"] and again["vm"]["node"] == "node-2"


@pytest.mark.parametrize("step", ["own node-1, on the move to node-2", "migrate", "own node-2"])
def test_cut_off_at_any_step_the_next_run_finishes(cloud: Cloud, step: str) -> None:
    cloud.source.fail_at = step
    with pytest.raises(KeyboardInterrupt):
        cloud.move()
    cloud.source.fail_at = None
    assert cloud.move()["vm"]["node"] == "node-2"
    assert cloud.source.owners[ID] == "node-2" and "a" not in cloud.source.domains


def test_a_move_that_fails_leaves_the_vm_as_it_was(cloud: Cloud) -> None:
    cloud.move_fails = True
    result = cloud.move()
    assert result["error"]["code"] == "backend"
    assert result["vm"]["node"] == "node-1" and result["vm"]["state"] == "running"
    assert cloud.source.owners[ID] == "node-1"


def test_a_move_that_was_cut_off_is_given_up(cloud: Cloud) -> None:
    cloud.source.owners[ID] = "node-1, on the move to node-2"
    result = cloud.move(to="node-1")
    assert result["changed"] and result["vm"]["node"] == "node-1" and result["vm"]["address_kept"]
    assert cloud.source.owners[ID] == "node-1"


def test_a_target_that_does_not_see_the_volume_is_refused(cloud: Cloud) -> None:
    del cloud.source.volumes["a.root"]
    result = cloud.move()
    assert "sees no volume a.root" in result["msg"] and result["vm"]["state"] == "running"
    assert cloud.source.mutations == []


def test_a_refusal_while_a_move_is_half_done_does_not_say_where_the_vm_is(cloud: Cloud) -> None:
    cloud.source.owners[ID] = "node-1, on the move to node-2"
    result = cloud.move(timeout=0)
    assert result["error"]["code"] == "invalid" and "vm" not in result
