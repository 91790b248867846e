# SPDX-License-Identifier: GPL-3.0-or-later
"""Module nft_table over a kernel that only remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.virtfleet.cloud.plugins.module_utils import nft_table as adapter
from ansible_collections.virtfleet.cloud.plugins.modules import nft_table

RULES = "chain input {\n}\n"


class Host:
    """What a host answers to commands."""

    def __init__(self) -> None:
        self.table = ""
        self.timer = False
        self.has_systemd = True
        self.refusal = ""
        self.did: list[str] = []

    def run(self, _module: Any, command: list[str], data: str | None = None, **_options: Any) -> tuple[int, str, str]:
        answers: dict[str, Callable[[], tuple[int, str, str]]] = {
            "--numeric": lambda: (0 if self.table else 1, self.table, ""),
            "-c": lambda: (1 if self.refusal else 0, "", self.refusal),
            "-f": lambda: self._load(data or ""),
            "--quiet": lambda: self._start() if command[0] == "systemd-run" else (0 if self.timer else 3, "", ""),
            "stop": self._stop,
        }
        return answers[command[1]]()

    def _load(self, text: str) -> tuple[int, str, str]:
        self.did.append("load")
        self.table = text.partition("\n\n")[2]
        return 0, "", ""

    def _start(self) -> tuple[int, str, str]:
        self.did.append("timer")
        self.timer = self.has_systemd
        return (0, "", "") if self.has_systemd else (1, "", "no systemd")

    def _stop(self) -> tuple[int, str, str]:
        self.did.append("stop")
        self.timer = False
        return 0, "", ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    made = Host()

    def run_command(module: Any, *arguments: Any, **options: Any) -> tuple[int, str, str]:
        return made.run(module, *arguments, **options)

    monkeypatch.setattr(basic.AnsibleModule, "run_command", run_command)
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda *_unused: "nft")
    real = Path
    monkeypatch.setattr(adapter, "Path", lambda path: tmp_path / real(path).name)
    return made


@pytest.fixture
def call(host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {"name": "mine", "path": str(tmp_path / "mine.nft"), "rules": RULES, "_ansible_check_mode": check}
        host.did.clear()
        with patch_module_args(arguments | options), pytest.raises(SystemExit):
            nft_table.main()
        return dict(json.loads(capsys.readouterr().out))

    return run


Call = Callable[..., dict[str, Any]]


def test_rules_are_tried_under_a_timer_and_then_kept(host: Host, call: Call, tmp_path: Path) -> None:
    assert call()["changed"]
    assert host.did == ["timer", "load"] and not (tmp_path / "mine.nft").exists()
    assert call(step="keep")["changed"]
    assert host.did == ["stop"] and "chain input" in (tmp_path / "mine.nft").read_text()
    assert not call()["changed"]
    assert host.did == []


def test_check_mode_changes_nothing(host: Host, call: Call, tmp_path: Path) -> None:
    foreseen = call(check=True)
    assert foreseen["changed"] and host.did == [] and not (tmp_path / "mine.nft").exists()
    assert foreseen["diff"] == call()["diff"]


def test_what_nft_refuses_is_not_loaded(host: Host, call: Call) -> None:
    host.refusal = "syntax error"
    assert "syntax error" in call()["msg"] and host.did == []
    assert "syntax error" in call(check=True)["msg"]


def test_without_a_way_back_nothing_is_loaded(host: Host, call: Call) -> None:
    host.has_systemd = False
    assert "nothing was changed" in call()["msg"] and host.did == ["timer"]


def test_rules_that_went_away_meanwhile_are_not_kept(host: Host, call: Call, tmp_path: Path) -> None:
    call()
    host.timer = False
    assert "came back" in call(step="keep")["msg"] and not (tmp_path / "mine.nft").exists()


def test_rules_that_somebody_tried_and_left_go_before_others_come(host: Host, call: Call) -> None:
    call()
    call(rules="chain other {\n}\n")
    assert host.did == ["load", "stop", "timer", "load"]


def test_rules_that_were_changed_by_hand_are_loaded_anew(host: Host, call: Call) -> None:
    call()
    call(step="keep")
    host.table += "a rule"
    assert call()["changed"] and host.did == ["timer", "load"]


def test_it_goes_away_once(host: Host, call: Call, tmp_path: Path) -> None:
    call()
    call(step="keep")
    assert call(state="absent", check=True)["changed"] and (tmp_path / "mine.nft").exists()
    assert call(state="absent")["changed"] and not (tmp_path / "mine.nft").exists()
    assert not call(state="absent")["changed"]
