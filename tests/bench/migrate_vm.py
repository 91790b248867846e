# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long migrate_vm.yml takes, against `virsh migrate` alone with the same VM in the same run.

    python3 tests/bench/migrate_vm.py 5          five rounds; ANSIBLE_INVENTORY names another lab than that of ./up

Both send the memory of a guest that has booted (512 MiB, or the second argument) through SSH. Of virsh only the
command itself counts, of migrate_vm.yml all of ansible-playbook.
"""

from __future__ import annotations

import re
import sys

from plays import BENCH, ROOT, play, play_and_read, show

PLAYBOOKS = ROOT / "playbooks"
NAME = "mig-bench"
HERE, THERE = "node-1", "node-2"


def migrate_vm(node: str) -> float:
    return play(PLAYBOOKS / "migrate_vm.yml", name=NAME, node=node)


def virsh(source: str, target: str) -> float:
    """The seconds of virsh alone."""
    variables = {"bench_name": NAME, "bench_source": source, "bench_target": target}
    output = play_and_read(BENCH / "virsh_migrate.yml", **variables)[1]
    hours, minutes, seconds = re.findall(r"virsh took (\d+):(\d+):([\d.]+)", output)[0]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def one_round() -> dict[str, float]:
    """There with the one, back with the other; what virsh did is then recorded."""
    seconds = {"migrate_vm": migrate_vm(THERE), "virsh migrate": virsh(THERE, HERE)}
    migrate_vm(HERE)
    return seconds | {"migrate_vm again": migrate_vm(HERE)}


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    memory = int(sys.argv[2]) if len(sys.argv) > 2 else 512
    # Its guest has booted before it moves: what a kernel writes meanwhile would be another amount each time.
    play(PLAYBOOKS / "create_vm.yml", name=NAME, ram=memory, disk=5, node=HERE, seed_after_boot="lock")
    try:
        one_round()  # opens the SSH connections, fills the caches
        medians = show([one_round() for _number in range(count)])
    finally:
        play(PLAYBOOKS / "delete_vm.yml", name=NAME, purge=True, force=True)
    print(f"migrate_vm / virsh migrate  {medians['migrate_vm'] / medians['virsh migrate']:.2f}   (wanted: at most 1.5)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
