# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Runs the modules of backups over the doubles and a real directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import (
    run,
    run_backup,
    run_restore,
    run_snapshot,
)
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB, DomainFacts, VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.modules import (
    virt_rbd_backup,
    virt_rbd_backup_info,
    virt_rbd_restore,
)
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph
from ansible_collections.virtfleet.cloud.tests.unit.doubles_backup import (
    ID,
    VM,
    BackupWorld,
    FakeVolumeDiffs,
)
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import FakeFreezer, FakeStore

Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def world() -> BackupWorld:
    """A running VM with a data disk, and one whose name begins alike."""
    world = BackupWorld()
    world.volumes = {name: VolumeFacts(10 * GIB, None, ID, None, 0) for name in ("a.data", "a.root")}
    world.volumes["a.seed"] = VolumeFacts(4096, None, ID, "digest of the seed", 0)
    world.volumes["ab.root"] = VolumeFacts(10 * GIB, None, ID, None, 0)
    world.content = {"a.data": "data", "a.root": "root", "a.seed": "seed"}
    world.domains["a"] = DomainFacts(ID, "running", ID)
    world.owners[ID] = "node-1"
    return world


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where backups go."""
    directory = tmp_path / "backup"
    directory.mkdir()
    return directory


@pytest.fixture
def call(
    run_module: Runner, world: BackupWorld, node_config: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> Runner:
    """Runs a module; `to` is the place."""
    monkeypatch.setattr(run, "Ceph", lambda *_unused: FakeCeph(world))
    for module in (run_backup, run_restore):
        monkeypatch.setattr(module, "VolumeDiffs", FakeVolumeDiffs)
    for module in (run_backup, run_snapshot):
        monkeypatch.setattr(module, "SnapshotStore", FakeStore)
        monkeypatch.setattr(module, "FreezingHypervisor", lambda _uri: FakeFreezer(world))

    def call(main: Callable[[], None], check: bool = False, **arguments: Any) -> dict[str, Any]:
        return run_module(main, check, node_config=node_config, **{"to": str(place), **arguments})

    return call


@pytest.fixture
def backup(call: Runner) -> Runner:
    return lambda backup, check=False, **arguments: call(
        virt_rbd_backup.main, check, **{**VM, "backup": backup, **arguments}
    )


@pytest.fixture
def restore(call: Runner) -> Runner:
    def restore(check: bool = False, **arguments: Any) -> dict[str, Any]:
        return call(virt_rbd_restore.main, check, **{"name": "a", "id": ID, "node": "node-1", **arguments})

    return restore


@pytest.fixture
def info(call: Runner) -> Runner:
    return lambda **arguments: call(virt_rbd_backup_info.main, **arguments)
