# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Against an AWX of yours, with an administrator's token and an inventory that has the variables of role awx.

    VIRTFLEET_AWX_URL=... VIRTFLEET_AWX_TOKEN=... VIRTFLEET_AWX_INVENTORY=inventories/lab/hosts.yml pytest tests/awx

Where the inventory's nodes are up (VIRTFLEET_AWX_NODES=1) a virtual machine is made over REST and deleted too.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("VIRTFLEET_AWX_URL", "VIRTFLEET_AWX_TOKEN", "VIRTFLEET_AWX_INVENTORY")
missing = [name for name in SETTINGS if not os.environ.get(name)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"no AWX to test against: set {', '.join(missing)}")

CONFIGURE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: virtfleet.cloud.awx, tasks_from: configure}
"""


def play(*arguments: str) -> str:
    settings = {"awx_url": os.environ["VIRTFLEET_AWX_URL"], "awx_token": os.environ["VIRTFLEET_AWX_TOKEN"]}
    command = ["ansible-playbook", "-i", os.environ["VIRTFLEET_AWX_INVENTORY"], *arguments, "-e", json.dumps(settings)]
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"{os.environ['VIRTFLEET_AWX_URL']}/api/v2/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['VIRTFLEET_AWX_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def launch(template: str, **answers: Any) -> tuple[int, dict[str, Any]]:
    return ask(f"job_templates/{quote(template)}++Default/launch/", {"extra_vars": answers})


def test_configure_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    playbook = tmp_path / "configure.yml"
    playbook.write_text(CONFIGURE)
    play(str(playbook))
    recap = play(str(playbook)).partition("PLAY RECAP")[2]
    assert "changed=0 " in recap, recap


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({}, "'name' value missing"),
        ({"name": "a", "cpu": "2"}, "Value 2 for 'cpu' expected to be an integer."),
        ({"name": "a", "ram": 1}, "'ram' value 1 is too small (must be at least 64)."),
        ({"name": "a" * 64}, "too large"),
        ({"name": "a", "placement": "anywhere"}, "expected to be one of"),
    ],
)
def test_wrong_answers_are_refused_before_there_is_a_job(answers: dict[str, Any], problem: str) -> None:
    code, answer = launch("Create VM", **answers)
    assert code == 400 and problem in answer["variables_needed_to_start"][0]


@pytest.mark.skipif(not os.environ.get("VIRTFLEET_AWX_NODES"), reason="VIRTFLEET_AWX_NODES is not set: no nodes")
def test_a_virtual_machine_is_made_and_deleted_over_rest() -> None:
    assert "from launch to the end of the create" in play("playbooks/check_api.yml")
