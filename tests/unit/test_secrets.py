# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Secrets are made where an inventory lacks them, once, and kept to their owner; the user's own stay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAMES = set(yaml.safe_load((ROOT / "roles" / "secrets" / "defaults" / "main.yml").read_text())["secrets_names"])
VAULT_PASSWORD = "of the vault"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the secrets of an inventory of one host are kept."""
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"node-1": {}}}}))
    (tmp_path / "vault-password").write_text(VAULT_PASSWORD)
    return tmp_path / "group_vars" / "all" / "secrets.yml"


def ansible(directory: Path, *command: str) -> tuple[bool, str]:
    """Whether a command worked, and what it said, in one line."""
    settings = {
        # That of the modules as well: another one on this machine may lack what they need, or not run.
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_VAULT_PASSWORD_FILE": str(directory / "vault-password"),
    }
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode == 0, " ".join((done.stdout + done.stderr).split())


def make(directory: Path, *arguments: str, inventory: str = "") -> tuple[bool, str]:
    playbook = str(ROOT / "playbooks" / "make_secrets.yml")
    return ansible(directory, "ansible-playbook", "-i", inventory or str(directory), playbook, *arguments)


def read(file: Path) -> dict[str, Any]:
    assert file.stat().st_mode & 0o777 == 0o600
    return dict(yaml.safe_load(file.read_text()))


def test_they_are_made_once(file: Path, tmp_path: Path) -> None:
    ok, told = make(tmp_path, "--check")
    assert ok and "changed=0" not in told and not file.exists(), told
    ok, told = make(tmp_path, "--diff")
    assert ok and "changed=0" not in told, told
    made = read(file)
    assert set(made) == NAMES and len(set(made.values())) == len(NAMES)
    assert not any(secret in told for secret in made.values())
    for arguments in ([], ["--check"]):
        ok, told = make(tmp_path, *arguments)
        assert ok and "changed=0" in told and read(file) == made, told


def test_ones_own_stay_and_are_kept_to_their_owner(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir(parents=True)
    own = "# of the safe\nhaproxy_password: 'my own'\n"
    file.write_text(own)
    (file.parent / "main.yml").write_text("registry_password: elsewhere\n")
    ok, told = make(tmp_path)
    assert ok, told
    assert set(read(file)) == NAMES - {"registry_password"} and file.read_text().startswith(own)


def test_a_vault_that_lacks_some_is_refused_and_a_whole_one_stays(file: Path, tmp_path: Path) -> None:
    assert make(tmp_path)[0]
    whole = file.read_text()
    for plain in (whole.replace("haproxy_password:", "other:"), whole):
        file.write_text(plain)
        assert ansible(tmp_path, "ansible-vault", "encrypt", str(file))[0]
        sealed = file.read_text()
        ok, told = make(tmp_path)
        assert ok is (plain is whole) and file.read_text() == sealed, told
        assert ok or "there is no haproxy_password. Add what is missing with 'ansible-vault edit'" in told


@pytest.mark.parametrize("inventory", ["localhost,", "/dev/null"])
def test_without_an_inventory_a_file_has_to_be_named(tmp_path: Path, file: Path, inventory: str) -> None:
    ok, told = make(tmp_path, inventory=inventory)
    assert not ok and "The inventory has no directory with hosts. Name one with -i" in told
    ok, told = make(tmp_path, "-e", f"secrets_file={file}", inventory=inventory)
    assert ok and set(read(file)) == NAMES, told
