# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long a virtual machine takes over REST, from launch until it runs, against create_vm.yml by hand in the same run.

    VIRTFLEET_AWX_URL=... VIRTFLEET_AWX_TOKEN=... python3 tests/bench/over_rest.py 3

three rounds, against an AWX that configure_awx.yml filled for the lab of ./up; ANSIBLE_INVENTORY names another lab.
When it runs is what the registry's last event says, which is written when the hypervisor has started it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from plays import ROOT, play, play_and_read, show

PLAYBOOKS = ROOT / "playbooks"
VM = {"ram": 128, "disk": 5, "node": "node-1"}


def ask(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        os.environ["VIRTFLEET_AWX_URL"] + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['VIRTFLEET_AWX_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{path}: {error.code} {error.read().decode()}")
    return found


def runs_since(name: str) -> float:
    """When the virtual machine ran, in seconds of this machine's clock, which the lab shares."""
    history = play_and_read(PLAYBOOKS / "vm_history.yml", name=name, output="json")[1]
    return max(datetime.fromisoformat(at).timestamp() for at in re.findall(r"\bat: ['\"]?([0-9][0-9T:.+Z-]+)", history))


def take_away(name: str) -> None:
    """Its guest is not to boot beside the next."""
    play(PLAYBOOKS / "delete_vm.yml", name=name, purge=True, force=True)
    time.sleep(3)


def by_hand(name: str) -> dict[str, float]:
    begin = time.time()
    end = begin + play(PLAYBOOKS / "create_vm.yml", name=name, **VM)
    seconds = {"by hand: running": runs_since(name) - begin, "by hand: end": end - begin}
    take_away(name)
    return seconds


def over_rest(name: str) -> dict[str, float]:
    begin = time.time()
    job = ask("/api/v2/job_templates/Create%20VM++Default/launch/", {"extra_vars": {"name": name, **VM}})
    launched = time.time()
    while job["status"] not in ("successful", "failed", "error", "canceled"):
        time.sleep(0.2)
        job = ask(job["url"])
    end = time.time()
    if job["status"] != "successful":
        sys.exit(f"job {job['id']} is {job['status']}: {job['artifacts']}")
    seconds = {
        "launch": launched - begin,
        "over REST: running": runs_since(name) - begin,
        "over REST: end": end - begin,
    }
    take_away(name)
    return seconds


def one_round(number: int) -> dict[str, float]:
    return by_hand(f"bench-by-hand-{number}") | over_rest(f"bench-over-rest-{number}")


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    one_round(0)  # fills the caches
    medians = show([one_round(number) for number in range(1, count + 1)])
    more = medians["over REST: running"] - medians["by hand: running"]
    print(f"launch                   {medians['launch']:.2f} s (wanted: at most 0.3)")
    print(f"over REST - by hand      {more:.2f} s (wanted: at most 1.5, until it runs)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
