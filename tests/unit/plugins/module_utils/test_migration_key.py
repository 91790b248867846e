# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The key of one move: what it may do, for how long, and that nothing of it stays."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import migration_key
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import NotFound
from ansible_collections.virtfleet.cloud.plugins.module_utils.migration_plan import MIGRATION_USER

PUBLIC = "ssh-ed25519 AAAAC3Nza ann@desk"
NOW = 1_800_000_000.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir()
    user = SimpleNamespace(pw_dir=str(tmp_path), pw_uid=os.getuid(), pw_gid=os.getgid())
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: user)
    return tmp_path


def authorized(home: Path) -> list[str]:
    return (home / ".ssh" / "authorized_keys").read_text().splitlines()


def test_a_key_can_do_one_thing_for_five_minutes() -> None:
    line = migration_key.authorized_line(PUBLIC, "vm-a", NOW)
    options, _space, key = line.partition('" ssh-ed25519 ')
    assert options.startswith('restrict,expiry-time="20270115080500Z",command="') and key == "AAAAC3Nza vm-a"
    assert options.endswith("; exec virt-ssh-helper qemu:///system")


def test_each_vm_has_one_line_until_it_runs_out() -> None:
    old, new = (migration_key.authorized_line(PUBLIC, vm, NOW) for vm in ("vm-a", "vm-b"))
    text = f"{old}\n{new}\n"
    assert migration_key.kept_lines(text, "vm-c", NOW) == [old, new]
    assert migration_key.kept_lines(text, "vm-a", NOW) == [new]
    assert migration_key.kept_lines(text, "vm-c", NOW + migration_key.KEY_SECONDS) == []


def test_a_key_is_let_in_and_takes_itself_away(home: Path) -> None:
    migration_key.let_in(PUBLIC, "vm-a")
    migration_key.let_in(PUBLIC, "vm-b")
    lines = authorized(home)
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["vm-a", "vm-b"]
    assert (home / ".ssh" / "authorized_keys").stat().st_mode & 0o777 == 0o600
    command = lines[0].partition('command="')[2].partition('"')[0].replace("exec virt-ssh-helper", "echo")
    said = subprocess.run(["sh", "-c", command], cwd=home, capture_output=True, text=True, check=True)
    assert said.stdout == "qemu:///system\n" and authorized(home) == lines[1:]


def test_without_the_user_it_says_which_role_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(NotFound, match="role libvirt"):
        migration_key.let_in(PUBLIC, "vm-a")


def test_the_private_key_is_there_within_the_block_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_key, "_RUN", str(tmp_path))
    with migration_key.key_files("secret", "10.0.0.2", 22, "ssh-ed25519 AAAA") as (key, known_hosts):
        assert Path(key).read_text() == "secret" and Path(key).stat().st_mode & 0o777 == 0o600
        assert Path(key).parent.stat().st_mode & 0o777 == 0o700
        assert Path(known_hosts).read_text() == "10.0.0.2 ssh-ed25519 AAAA\n"
    assert list(tmp_path.iterdir()) == []


def test_role_libvirt_makes_the_user() -> None:
    tasks = Path(__file__).resolve().parents[4] / "roles" / "libvirt" / "tasks" / "migration.yml"
    assert f"name: {MIGRATION_USER}\n" in tasks.read_text(encoding="utf-8")
