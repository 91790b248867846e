# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's main() in this process over the doubles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.virtfleet.cloud.plugins.module_utils import run, run_seed, run_trash, run_vm_info
from ansible_collections.virtfleet.cloud.plugins.modules import (
    virt_rbd_seed,
    virt_rbd_trash,
    virt_rbd_vm,
    virt_rbd_vm_info,
    virt_rbd_vms,
)
from ansible_collections.virtfleet.cloud.tests.unit.doubles import (
    FakeCeph,
    FakeHypervisor,
    FakeSeedHypervisor,
    FakeTrash,
    World,
)
from ansible_collections.virtfleet.cloud.tests.unit.doubles_snapshot import FakeStore, SnapshotWorld

NODE = {
    "accelerator": "tcg", "ceph_conf": "/etc/ceph/ceph.conf", "ceph_client": "libvirt", "ceph_pool": "libvirt-pool",
    "ceph_secret_uuid": "11111111-0000-4000-8000-000000000000", "network": {"type": "network", "name": "default"},
    "console_log_dir": "/var/log/libvirt/qemu",
}  # fmt: skip

Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def world() -> World:
    return SnapshotWorld()


@pytest.fixture
def node_config(tmp_path: Path) -> str:
    path = tmp_path / "node.json"
    path.write_text(json.dumps(NODE))
    return str(path)


@pytest.fixture
def run_module(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """A function that runs main() with arguments and returns the result that it printed."""
    monkeypatch.setattr(run, "Ceph", lambda *_unused: FakeCeph(world))
    for module in (run, run_trash):
        monkeypatch.setattr(module, "Trash", FakeTrash)
    for module in (run, run_vm_info):
        monkeypatch.setattr(module, "Hypervisor", lambda _uri: FakeHypervisor(world))
    monkeypatch.setattr(run_seed, "SeedHypervisor", lambda _uri: FakeSeedHypervisor(world))
    monkeypatch.setattr(run, "SnapshotStore", FakeStore)

    def call(main: Callable[[], None], check: bool = False, **arguments: Any) -> dict[str, Any]:
        with patch_module_args(arguments | {"_ansible_check_mode": check}), pytest.raises(SystemExit):
            main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    assert basic.AnsibleModule
    return call


@pytest.fixture
def vm_module(run_module: Runner, node_config: str) -> Runner:
    return lambda check=False, **arguments: run_module(virt_rbd_vm.main, check, node_config=node_config, **arguments)


@pytest.fixture
def info_module(run_module: Runner) -> Runner:
    return lambda **arguments: run_module(virt_rbd_vm_info.main, **arguments)


@pytest.fixture
def trash_module(run_module: Runner, node_config: str) -> Runner:
    return lambda check=False, **arguments: run_module(virt_rbd_trash.main, check, node_config=node_config, **arguments)


@pytest.fixture
def vms_module(run_module: Runner, node_config: str) -> Runner:
    return lambda check=False, **arguments: run_module(virt_rbd_vms.main, check, node_config=node_config, **arguments)


@pytest.fixture
def seed_module(run_module: Runner, node_config: str) -> Runner:
    return lambda check=False, **arguments: run_module(virt_rbd_seed.main, check, node_config=node_config, **arguments)
