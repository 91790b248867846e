# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long ansible-playbook takes to start over an inventory of very many VMs.

    python3 tests/bench/inventory.py             one round with 10000 and one with 100000 VMs
    python3 tests/bench/inventory.py 10000 3     three rounds with 10000

It needs no lab: a PostgreSQL of its own holds the VMs. The floor is a plugin that adds the same hosts, variables and
groups from memory; `constructed` has the registry's plugin make the groups of one more key by keyed_groups.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from own_registry import fill, registry, timed
from plays import BENCH, ROOT, SETTINGS, show

# Found by the path that own_registry made.
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings  # isort: skip
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_inventory import InventoryReader  # isort: skip


# Beyond, templates for each host take many minutes.
MOST_CONSTRUCTED = 10000


def start(inventory: Path) -> tuple[float, float]:
    """The seconds of ansible-playbook with an inventory and nothing to do, and those of the processor in it."""
    environment = (
        os.environ
        | SETTINGS
        | {
            "ANSIBLE_INVENTORY_PLUGINS": str(BENCH / "fleet"),
            "ANSIBLE_INVENTORY_ENABLED": "virtfleet.cloud.vm_registry,from_memory",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        }
    )
    command = ["ansible-playbook", "-i", str(inventory), str(BENCH / "fleet" / "nothing.yml")]
    before = processor()
    seconds = timed(
        lambda: subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    )
    return seconds, processor() - before


def processor() -> float:
    """The seconds of the processor in what was run so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_round(settings: Settings, folder: Path, count: int) -> dict[str, float]:
    common = {
        "plugin": "virtfleet.cloud.vm_registry", "host": settings.host, "port": settings.port,
        "user": settings.user, "password": settings.password, "ca_file": settings.ca_file,
    }  # fmt: skip
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(folder / "cache")}
    inventories = {
        "from memory": {"plugin": "from_memory", "count": count},
        "registry": common,
        "registry, filling its cache": common | cache,
        "registry, from its cache": common | cache,
    }
    if count <= MOST_CONSTRUCTED:
        key = {"prefix": "size", "key": "vm_memory_mib | string"}
        inventories["constructed"] = common | {"keyed_groups": [key]}
    shutil.rmtree(folder / "cache", ignore_errors=True)
    seconds = {}
    for name, content in inventories.items():
        file = folder / "bench.virtfleet.yml"
        file.write_text(yaml.safe_dump(content))
        seconds[name], seconds[f"{name}: processor"] = start(file)
    seconds["reading the registry alone"] = timed(lambda: read(settings))
    seconds["reading its cache alone"] = timed(lambda: read_cache(folder / "cache"))
    return seconds


def read(settings: Settings) -> None:
    with InventoryReader(settings) as reader:
        reader.rows({})


def read_cache(folder: Path) -> None:
    (file,) = folder.iterdir()
    kept = json.loads(file.read_text())
    if "__payload__" in kept:  # ansible-core since 2.19 wraps it
        kept = json.loads(kept["__payload__"])
    json.loads(kept["text"])


def main() -> int:
    counts = [int(sys.argv[1])] if len(sys.argv) > 1 else [10000, 100000]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with registry() as (admin, settings, folder):
        for count in counts:
            fill(admin, count)
            print(f"\n{count} VMs")
            medians = show([one_round(settings, folder, count) for _round in range(rounds)])
            # Of the processor: a machine that does something else at the same time says little by its clock.
            ratios = {
                "registry / from memory (wanted: at most 1.2)": ("registry", "from memory"),
                "from its cache / registry (wanted: at most 0.6)": ("registry, from its cache", "registry"),
                "constructed / registry": ("constructed", "registry"),
            }
            for what, (one, other) in ratios.items():
                if one in medians:
                    print(f"{what}: {medians[f'{one}: processor'] / medians[f'{other}: processor']:.2f}")
            alone = medians["reading its cache alone"] / medians["reading the registry alone"]
            print(f"reading its cache / the registry, alone: {alone:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
