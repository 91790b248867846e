# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may import what: pure in the middle, clients only in their adapter."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
FILES = sorted(PLUGINS.rglob("*.py"))
PURE = (
    "spec.py", "plan.py", "plan_types.py", "plan_changes.py", "snapshot_plan.py", "migration_plan.py", "ownership.py",
    "domain_xml.py", "cloud_init.py", "cloud_config.py", "errors.py", "placement.py", "variables.py", "bulk.py",
    "image_names.py", "image_plan.py", "flatten_plan.py", "seed_plan.py", "nic.py", "field_reader.py",
    "clone_plan.py", "purge_plan.py", "survey.py",
    "backup_manifest.py", "backup_plan.py", "backup_storage.py", "restore_plan.py", "rbd_diff.py",
    "placement_wish.py", "subnet.py",
    "reconcile_plan.py", "orphan_plan.py", "own_domain.py", "rebuild_plan.py", "seen.py",
    "firewall_plan.py", "preflight_finding.py", "preflight_host.py", "preflight_inventory.py",
)  # fmt: skip
CLIENTS = {"rados": "ceph", "rbd": "ceph", "libvirt": "hypervisor", "psycopg2": "registry", "redis": "registry"}


def imports(path: Path) -> set[str]:
    """The first words of all absolute imports of a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("name", PURE)
def test_the_middle_is_pure(name: str) -> None:
    found = imports(PLUGINS / "module_utils" / name)
    assert not found & {"ansible", "os", "socket", "subprocess", *CLIENTS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_clients_are_imported_by_their_adapter_only(path: Path) -> None:
    for client in imports(path) & set(CLIENTS):
        assert path.stem.startswith(CLIENTS[client])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_shell_and_no_absolute_import_of_ourselves(path: Path) -> None:
    assert not imports(path) & {"subprocess", "ansible_collections"}
