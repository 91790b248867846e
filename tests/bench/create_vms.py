# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long create_vms.yml takes for many stopped VMs, against a floor in the same run.

    python3 tests/bench/create_vms.py            one round of 100 VMs on the lab that ./up made
    python3 tests/bench/create_vms.py 20 3       three rounds of 20; ANSIBLE_INVENTORY names another lab

floor: the same calls in one process on each node, one VM after the other, without any check or record.
"""

from __future__ import annotations

import sys

from plays import BENCH, ROOT, play, show

PREFIX = "bench-many"


def one_round(count: int) -> dict[str, float]:
    vms = {"count": count, "prefix": PREFIX, "ram": 64, "disk": 5, "start": False}
    seconds = {"by bindings": play(BENCH / "many_by_bindings.yml", name="@name@", **vms)}
    play(BENCH / "remove_many.yml", prefix=PREFIX)
    seconds["create_vms"] = play(ROOT / "playbooks" / "create_vms.yml", **vms)
    seconds["create_vms again"] = play(ROOT / "playbooks" / "create_vms.yml", **vms)
    play(BENCH / "remove_many.yml", prefix=PREFIX)
    return seconds


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    play(BENCH / "remove_many.yml", prefix=PREFIX)  # what a round that was cut off left; opens the connections
    medians = show([one_round(count) for _round in range(rounds)])
    print(f"create_vms / by bindings  {medians['create_vms'] / medians['by bindings']:.2f}   (wanted: at most 1.5)")
    print(f"create_vms again          {medians['create_vms again']:.2f} s (wanted: under 5 s for 100)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
