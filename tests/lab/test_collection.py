# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The collection as people install it: built, installed, and used by its full names from anywhere."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from .conftest import MINUTE, ROOT, Lab, Result


def galaxy(directory: Path, *arguments: str | Path) -> None:
    """Run away from the checkout, whose ansible.cfg says that the collection is installed already."""
    command = ["ansible-galaxy", "collection", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=5 * MINUTE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_built_and_installed_it_works_from_anywhere(lab: Lab, tmp_path: Path) -> None:
    galaxy(tmp_path, "build", "--output-path", tmp_path, ROOT)
    (archive,) = tmp_path.glob("virtfleet-cloud-*.tar.gz")
    with tarfile.open(archive) as content:
        names = content.getnames()
    assert {"plugins/modules/virt_rbd_vm.py", "playbooks/create_vm.yml", "roles/ceph/tasks/main.yml"} <= set(names)
    foreign = (".git", ".venv", ".cache", "inventories/lab", "playbooks/collections", ".ci")
    assert [name for name in names if name.startswith(foreign) or "__pycache__" in name] == []

    # Its dependencies come with the ansible package, so that nothing has to be fetched.
    galaxy(tmp_path, "install", "--offline", "--collections-path", tmp_path / "collections", archive)
    anywhere = tmp_path / "anywhere"
    anywhere.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "ANSIBLE_CONFIG"}
    for playbook, variables in (
        ("create_vm", ["-e", "name=installed", "-e", "ram=128", "-e", "disk=2"]),
        ("list_vms", []),
        ("delete_vm", ["-e", "name=installed", "-e", "purge=true", "-e", "force=true"]),
    ):
        command = ["ansible-playbook", "-i", str(lab.inventory), f"virtfleet.cloud.{playbook}"]
        process = subprocess.run(
            [*command, *variables],
            cwd=anywhere,
            env=environment | {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=5 * MINUTE,
        )
        result = Result.of(process)
        assert result.ok and str(ROOT) not in result.output.replace(str(lab.inventory.parent), ""), result.output
        assert playbook == "delete_vm" or "installed" in result.output
