# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long create_vm.yml takes, against a floor and a peer in the same run.

    ./test bench                                 seven rounds on the lab that ./up made
    python3 tests/bench/create_vm.py 3           three; ANSIBLE_INVENTORY names another lab

floor: ansible-playbook with one task that makes the same VM by the bindings, without any check or record.
peer:  ansible-playbook with the nine tasks of rbd, copy and community.libvirt.virt that people write today.
"""

from __future__ import annotations

import sys

from plays import BENCH, ROOT, play, show


def one_round(number: int) -> dict[str, float]:
    """Each contender once; what it made is taken away before the next."""
    seconds = {"ping": play(BENCH / "ping.yml")}
    for contender in ("one_task", "nine_tasks"):
        name = f"bench-{contender.replace('_', '-')}-{number}"
        seconds[contender] = play(BENCH / f"{contender}.yml", name=name)
        play(BENCH / "remove.yml", name=name)
    name = f"bench-create-vm-{number}"
    # On the same node as the others.
    vm = {"name": name, "ram": 128, "disk": 5, "node": "node-1"}
    seconds["create_vm"] = play(ROOT / "playbooks" / "create_vm.yml", **vm)
    seconds["create_vm again"] = play(ROOT / "playbooks" / "create_vm.yml", **vm)
    play(ROOT / "playbooks" / "delete_vm.yml", name=name, purge=True, force=True)
    return seconds


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    play(BENCH / "prepare.yml")
    one_round(0)  # opens the SSH connections, fills the caches
    medians = show([one_round(number) for number in range(1, count + 1)])
    print(f"create_vm / one_task    {medians['create_vm'] / medians['one_task']:.2f}   (wanted: at most 1.3)")
    print(f"create_vm / nine_tasks  {medians['create_vm'] / medians['nine_tasks']:.2f}   (wanted: at most 0.5)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
