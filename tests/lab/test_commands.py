# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The README's commands on machines that cannot do it, and hosts that were killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import MINUTE, NAME, ROOT, Lab, remains

MINI = "virtfleet-mini"
OPTIONS = ["--name", MINI, "--subnet", "10.89.46.0/24"]


def run(*command: str | Path, minutes: int = 1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=minutes * MINUTE)


@pytest.mark.parametrize("command", ["up", "test", "down"])
def test_it_says_that_it_must_be_root(command: str) -> None:
    # A process without privileges, which still may read the checkout.
    done = run(
        "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all", "bash", ROOT / command
    )
    assert done.returncode != 0
    assert "root" in done.stderr


def test_it_says_that_there_is_no_mirror() -> None:
    done = run(ROOT / "up", "--name", "virtfleet-nowhere", "--mirror", "http://127.0.0.1:9/debian", minutes=2)
    assert done.returncode != 0
    assert "the Debian mirror does not answer: http://127.0.0.1:9/debian" in done.stderr
    assert "--mirror" in done.stderr and "--proxy" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "none", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_it_says_that_there_is_no_room(small_disk: Path) -> None:
    shutil.copy(ROOT / "up", small_disk)
    shutil.copytree(ROOT / "scripts", small_disk / "scripts")
    done = run(small_disk / "up")
    assert done.returncode != 0
    assert "needs 15 GiB of disk" in done.stderr


def lab_processes(name: str) -> list[int]:
    """The process ids of a lab's containers and of what watches over them, from the container runtime's own records."""
    listed = run("podman", "ps", "--filter", f"label=virtfleet.lab={name}", "--format", "{{.Pid}} {{.ID}}").stdout
    pids = []
    for line in listed.splitlines():
        pid, container = line.split()
        pids.append(int(pid))
        inspected = run("podman", "inspect", "--format", "{{.ConmonPidFile}}", container).stdout.strip()
        pids.append(int(Path(inspected).read_text()))
    return pids


@pytest.fixture
def mini(lab: Lab) -> Iterator[list[str]]:
    """Hosts of a second lab beside the first, with nothing installed on them; the command that makes them."""
    directory = ROOT / ".cache" / MINI
    directory.mkdir(parents=True, exist_ok=True)
    for archive in (ROOT / ".cache" / NAME).glob("root-*.tar"):
        # The same root file system: its making is tested already.
        (directory / archive.name).unlink(missing_ok=True)
        os.link(archive, directory / archive.name)
    up = 'play -i localhost, playbooks/lab_up.yml -e "$(lab_settings)" -e lab_nodes=1 -e lab_virtualization_nodes=1'
    yield ["bash", "-c", f'. scripts/setup-controller.sh; parse_options "$@"; {up}', "up", *OPTIONS]
    done = run(ROOT / "down", *OPTIONS, minutes=5)
    assert done.returncode == 0, done.stdout + done.stderr
    assert remains(MINI, "10.89.46.") == []
    assert lab.on("node-1", "hostname") == "node-1\n", "the first lab went with the second"


@pytest.mark.slow
def test_a_killed_lab_comes_up_again_beside_another(lab: Lab, mini: list[str]) -> None:
    first = run(*mini, minutes=5)
    assert first.returncode == 0, first.stdout + first.stderr
    killed = lab_processes(MINI)
    assert len(killed) == 4
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    again = run(*mini, minutes=5)
    assert again.returncode == 0, again.stdout + again.stderr
    config = ROOT / "inventories" / f"lab-{MINI}" / "ssh" / "config"
    assert run("ssh", "-F", config, "node-1", "hostname").stdout == "node-1\n"
    assert lab.on("node-1", "ceph", "health").startswith("HEALTH_")
