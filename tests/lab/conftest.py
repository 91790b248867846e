# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of the tests' own: the README's first command makes it, ./down takes it away."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "virtfleet-test"
OPTIONS = ["--name", NAME, "--subnet", "10.89.45.0/24"]
MINUTE = 60


@dataclass(frozen=True)
class Lab:
    """Runs playbooks and commands on the lab."""

    inventory: Path
    up_output: str

    def play(self, playbook: str, *arguments: str, directory: Path = ROOT, **variables: Any) -> Result:
        command = ["ansible-playbook", "-i", str(self.inventory), playbook, "-e", json.dumps(variables), *arguments]
        environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        return Result(
            subprocess.run(
                command,
                cwd=directory,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=10 * MINUTE,
            )
        )

    def on(self, host: str, *command: str) -> str:
        """The output of a command on a host, without Ansible in between."""
        run = ["podman", "exec", f"{NAME}-{host}", *command]
        return subprocess.run(run, capture_output=True, text=True, timeout=MINUTE, check=True).stdout

    def vms(self, directory: Path) -> dict[str, dict[str, str]]:
        """The list of VMs by name."""
        file = directory / "vms.json"
        result = self.play("playbooks/list_vms.yml", file=str(file))
        assert result.ok, result.output
        return {vm["Name"]: vm for vm in json.loads(file.read_text())}


class Result:
    """What ansible-playbook said."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.output = process.stdout + process.stderr
        self.ok = process.returncode == 0

    @property
    def unchanged(self) -> bool:
        """Whether no host of the recap changed."""
        recap = [line for line in self.output.splitlines() if "changed=" in line and "ok=" in line]
        return bool(recap) and all("changed=0 " in line for line in recap)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-lab", action="store_true", help="leave the lab up for the next run (./down takes it away)")


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    try:
        up = subprocess.run([ROOT / "up", *OPTIONS], capture_output=True, text=True, check=False, timeout=25 * MINUTE)
        assert up.returncode == 0, up.stdout + up.stderr
        print(up.stdout[up.stdout.index("\nPhases") :])
        yield Lab(ROOT / "inventories" / f"lab-{NAME}" / "hosts.yml", up.stdout)
    finally:
        if not request.config.getoption("--keep-lab", default=False):
            down = subprocess.run(
                [ROOT / "down", *OPTIONS], capture_output=True, text=True, check=False, timeout=5 * MINUTE
            )
            assert down.returncode == 0, down.stdout + down.stderr
