# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long ansible-playbook takes to start over an inventory of very many VMs, and how long claims and lists take.

    python3 tests/bench/inventory.py             one round with 10000 and one with 100000 VMs
    python3 tests/bench/inventory.py 10000 3     three rounds with 10000

It needs no lab: a PostgreSQL of its own holds the VMs. The floor is a plugin that adds the same hosts, variables and
groups from memory; `constructed` has the registry's plugin make the groups of one more key by keyed_groups.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from plays import BENCH, ROOT, SETTINGS, show

# What follows is found by these paths only, and so cannot stand above them.
sys.path[:0] = [str(ROOT / "playbooks" / "collections"), str(ROOT / "tests" / "integration" / "registry")]

from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry  # noqa: E402
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings  # noqa: E402
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import VmSpec, parse_request  # noqa: E402
from servers import PASSWORD, postgresql  # noqa: E402

FLEET = """
TRUNCATE event, vm, image, node CASCADE;
INSERT INTO node (name, address, vcpus, memory_mib)
    SELECT 'n' || n, '10.0.0.1', 100000, 2000000000 FROM generate_series(0, 19) AS n;
INSERT INTO image (name, size_gib) VALUES ('debian-13', 3);
INSERT INTO vm (id, name, project, node, state, memory_mib, vcpus, disk_gib, image, mac, ip, tags, made, spec)
    SELECT gen_random_uuid(), 'vm-' || lpad(n::text, 6, '0'), 'p' || mod(n, 50), 'n' || mod(n, 20), 'running', 1024, 1,
        10, 'debian-13', ('5254' || lpad(to_hex(n), 8, '0'))::macaddr, '10.0.0.0'::inet + n, '{web}', true,
        jsonb_build_object('guest_user', 'debian')
    FROM generate_series(1, %s) AS n;
ANALYZE;
"""


@contextmanager
def registry() -> Iterator[tuple[dict[str, Any], Settings, Path]]:
    """How a superuser and the writing role connect, and a folder."""
    folder = Path(tempfile.mkdtemp(prefix="virtfleet-bench-"))
    shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o755)
    try:
        with postgresql(folder) as admin:
            yield admin, Settings("127.0.0.1", "virtfleet", PASSWORD, str(folder / "ca.crt"), admin["port"]), folder
    finally:
        shutil.rmtree(folder)


def start(inventory: Path) -> float:
    """The seconds of ansible-playbook with an inventory and nothing to do."""
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
    return timed(lambda: subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True))


def timed(act: Callable[[], object]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


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
        "constructed": common | {"keyed_groups": [{"prefix": "size", "key": "vm_memory_mib | string"}]},
    }
    shutil.rmtree(folder / "cache", ignore_errors=True)
    seconds = {}
    for name, content in inventories.items():
        file = folder / "bench.virtfleet.yml"
        file.write_text(yaml.safe_dump(content))
        seconds[name] = start(file)
    with Registry(settings, print) as opened:
        page = {"project": "p7", "search": "vm-0"}
        seconds["a filtered page of 100"] = timed(lambda: opened.page(page, 100))
    seconds["a claim, with its connection"] = timed(lambda: claim(settings))
    requests: list[tuple[VmSpec, list[str]]] = [
        (parse_request({"name": f"many-{number}", "ram": 64}), []) for number in range(1000)
    ]
    with Registry(settings, print, check=True) as opened:
        seconds["1000 claims in one call"] = timed(lambda: opened.claim_many(requests, "bench", 60))
    return seconds


def claim(settings: Settings) -> None:
    with Registry(settings, print, check=True) as opened:
        opened.claim_new(parse_request({"name": "one-more", "ram": 64}), "bench", 60)


def main() -> int:
    counts = [int(sys.argv[1])] if len(sys.argv) > 1 else [10000, 100000]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with registry() as (admin, settings, folder):
        for count in counts:
            with psycopg2.connect(**admin, options="-c search_path=virtfleet") as connection:
                with connection.cursor() as cursor:
                    cursor.execute(FLEET, (count,))
            connection.close()
            print(f"\n{count} VMs")
            medians = show([one_round(settings, folder, count) for _round in range(rounds)])
            print(
                f"registry / from memory    {medians['registry'] / medians['from memory']:.2f}   (wanted: at most 1.2)"
            )
            cached = medians["registry, from its cache"] / medians["registry"]
            print(f"from its cache / registry {cached:.2f}   (wanted: at most 0.6)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
