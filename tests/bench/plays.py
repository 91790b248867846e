# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Runs playbooks and takes their time, and prints what came of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parents[1]
SETTINGS = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_LIBRARY": str(BENCH / "library"),
    "ANSIBLE_NOCOLOR": "1",
}


def play(playbook: Path, **variables: object) -> float:
    """The seconds that a playbook took."""
    return play_and_read(playbook, **variables)[0]


def play_and_read(playbook: Path, **variables: object) -> tuple[float, str]:
    """The seconds that a playbook took, and its output."""
    begin = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", str(playbook), "-e", json.dumps(variables)],
        cwd=ROOT,
        env=os.environ | SETTINGS,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"{playbook.name} failed:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def show(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Print the median, least and most seconds of each contender; returns the medians."""
    medians = {contender: statistics.median(seconds[contender] for seconds in rounds) for contender in rounds[0]}
    print(f"{'':18}  median s  (of {len(rounds)} rounds: least to most)")
    for contender, median in medians.items():
        seconds = [one[contender] for one in rounds]
        print(f"{contender:18}  {median:8.3f}  ({min(seconds):.3f} to {max(seconds):.3f})")
    return medians
