# SPDX-License-Identifier: GPL-3.0-or-later
"""Module files on real files: check, run, rerun, check."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.virtfleet.cloud.plugins.modules import files

Write = Callable[..., dict[str, Any]]
ME = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


def text(path: Path, content: str, mode: str = "0640", **other: str) -> dict[str, Any]:
    return {"path": str(path), "content": content, "mode": mode, **ME, **other}


@pytest.fixture
def write(capsys: pytest.CaptureFixture[str]) -> Write:
    def run(*wanted: dict[str, Any], check: bool = False) -> dict[str, Any]:
        with patch_module_args({"files": list(wanted), "_ansible_check_mode": check}), pytest.raises(SystemExit):
            files.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def test_check_run_rerun_check(write: Write, tmp_path: Path) -> None:
    wanted = [text(tmp_path / "a", "one\n"), text(tmp_path / "b", "zwölf\r\n", "0600")]
    foreseen = write(*wanted, check=True)
    assert foreseen["changed"]
    assert list(tmp_path.iterdir()) == []
    done = write(*wanted)
    assert done["written"] == foreseen["written"] == [one["path"] for one in wanted]
    assert [(path.name, path.read_bytes(), path.stat().st_mode & 0o7777) for path in sorted(tmp_path.iterdir())] == [
        ("a", b"one\n", 0o640),
        ("b", "zwölf\r\n".encode(), 0o600),
    ]
    for check in (False, True):
        again = write(*wanted, check=check)
        assert (again["changed"], again["written"], again["diff"]) == (False, [], [])


def test_only_what_differs_is_written(write: Write, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write(text(a, "one\n"), text(b, "two\n"))
    inode = a.stat().st_ino
    done = write(text(a, "one\n"), text(b, "three\n"))
    assert done["written"] == [str(b)]
    assert [(diff["before_header"], diff["before"], diff["after"]) for diff in done["diff"]] == [
        (str(b), "two\n", "three\n")
    ]
    assert a.stat().st_ino == inode
    assert b.read_text() == "three\n"


def test_owner_and_mode_are_made_right_alone(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(text(path, "one\n"))
    path.chmod(0o666)
    assert write(text(path, "one\n"), check=True)["written"] == [str(path)]
    assert path.stat().st_mode & 0o777 == 0o666
    done = write(text(path, "one\n"))
    assert done["written"] == [str(path)]
    assert [(diff["before"], diff["after"]) for diff in done["diff"]] == [({"mode": "0666"}, {"mode": "0640"})]
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_is_no_text_and_links_are_replaced(write: Write, tmp_path: Path) -> None:
    binary, elsewhere, link = tmp_path / "binary", tmp_path / "elsewhere", tmp_path / "link"
    binary.write_bytes(b"\xff\x00")
    elsewhere.write_text("one\n")
    link.symlink_to(elsewhere)
    assert write(text(binary, "one\n"), text(link, "one\n"))["written"] == [str(binary), str(link)]
    assert binary.read_text() == "one\n"
    assert not link.is_symlink()
    assert write(text(binary, "one\n"), text(link, "one\n"))["written"] == []


def test_missing_directories_are_made_and_others_stay(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "too" / "a"
    tmp_path.chmod(0o700)
    assert write(text(path, "one\n"), check=True)["written"] == [str(path)]
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0o077)
    try:
        assert write(text(path, "one\n"))["written"] == [str(path)]
    finally:
        os.umask(before)
    assert [one.stat().st_mode & 0o7777 for one in (path.parent, path.parent.parent, tmp_path)] == [0o755, 0o755, 0o700]
    assert not write(text(path, "one\n"))["changed"]


def test_those_before_one_that_cannot_be_written_are_told(write: Write, tmp_path: Path) -> None:
    first = tmp_path / "first"
    failed = write(text(first, "one\n"), text(first / "a", "one\n"))
    assert failed["failed"]
    assert failed["written"] == [str(first)]
    assert failed["msg"].startswith(f"{first / 'a'} cannot be written: ")


@pytest.mark.parametrize("wrong", [{"owner": "nobody-of-this-name"}, {"mode": "u=nonsense"}])
def test_nothing_remains_of_what_cannot_be_written(write: Write, tmp_path: Path, wrong: dict[str, str]) -> None:
    assert write(text(tmp_path / "a", "one\n", **wrong))["failed"]
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_not_replaced(write: Write, tmp_path: Path) -> None:
    assert "cannot be written" in write(text(tmp_path, "one\n"))["msg"]
    assert tmp_path.is_dir()
