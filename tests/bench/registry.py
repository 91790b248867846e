# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long claims and lists take in a registry of very many VMs, against the least that they could take.

    python3 tests/bench/registry.py              seven rounds with 10000 and with 100000 VMs
    python3 tests/bench/registry.py 10000 3      three rounds with 10000

It needs no lab: a PostgreSQL of its own holds the VMs. The floors are psycopg2 alone, which connects the same way and
inserts as many rows and events without asking whether they may be, and ansible-playbook with one debug task.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import yaml
from own_registry import fill, registry, timed
from plays import BENCH, ROOT, SETTINGS, show

# Found by the path that own_registry made.
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry  # isort: skip
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings  # isort: skip
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request  # isort: skip

MANY = 1000


def insert_alone(settings: Settings, names: list[str]) -> None:
    connection = psycopg2.connect(
        host=settings.host, port=settings.port, dbname=settings.database, user=settings.user,
        password=settings.password, sslmode="verify-full", sslrootcert=settings.ca_file,
        options="-c search_path=virtfleet",
    )  # fmt: skip
    ids = [str(uuid.uuid4()) for _name in names]
    macs = [f"02:{vm_id[:2]}:{vm_id[2:4]}:{vm_id[4:6]}:{vm_id[6:8]}:{vm_id[9:11]}" for vm_id in ids]
    same = ("p1", "n1", "creating", 64, 1, 10, "debian-13")
    vms = [(vm_id, name, mac, *same) for vm_id, name, mac in zip(ids, names, macs, strict=True)]
    events = [(vm_id, "bench", "create") for vm_id in ids]
    with connection.cursor() as cursor:
        columns = "id, name, mac, project, node, state, memory_mib, vcpus, disk_gib, image"
        psycopg2.extras.execute_values(cursor, f"INSERT INTO vm ({columns}) VALUES %s", vms, page_size=MANY)
        columns = "vm, actor, action"
        psycopg2.extras.execute_values(cursor, f"INSERT INTO event ({columns}) VALUES %s", events, page_size=MANY)
    connection.commit()
    connection.close()


def claim(settings: Settings, names: list[str]) -> None:
    requests = [(parse_request({"name": name, "ram": 64}), ()) for name in names]
    with Registry(settings, print) as opened:
        if len(requests) == 1:
            opened.claim_new(requests[0][0], "bench", 60)
        else:
            opened.claim_many(requests, "bench", 60)


def play(playbook: Path, inventory: Path, **variables: object) -> None:
    command = ["ansible-playbook", "-i", str(inventory), str(playbook), "-e", json.dumps(variables)]
    subprocess.run(command, cwd=ROOT, env=os.environ | SETTINGS, capture_output=True, text=True, check=True)


def one_round(admin: dict[str, Any], settings: Settings, inventory: Path) -> dict[str, float]:
    one, many = ["bench-1"], [f"bench-{number}" for number in range(MANY)]
    seconds = {}
    for act in (insert_alone, claim):
        for what, names in (("1", one), (str(MANY), many)):
            seconds[f"{what} by {act.__name__}"] = timed(lambda act=act, names=names: act(settings, names))
            forget(admin)
    seconds["debug"] = timed(lambda: play(BENCH / "debug.yml", inventory))
    page = {"project": "p7", "search": "vm-0", "state": "running", "limit": 100}
    seconds["list_vms, a page"] = timed(lambda: play(ROOT / "playbooks" / "list_vms.yml", inventory, **page))
    return seconds


def forget(admin: dict[str, Any]) -> None:
    connection = psycopg2.connect(**admin, options="-c search_path=virtfleet")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE event; DELETE FROM vm WHERE name LIKE 'bench-%'")
        cursor.execute("VACUUM vm")
    connection.close()


def main() -> int:
    counts = [int(sys.argv[1])] if len(sys.argv) > 1 else [10000, 100000]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    with registry() as (admin, settings, folder):
        inventory = folder / "hosts.yml"
        variables = {
            "registry_host": settings.host, "registry_port": settings.port, "registry_user": settings.user,
            "registry_password": settings.password, "registry_ca_file": settings.ca_file,
        }  # fmt: skip
        localhost = {"localhost": {"ansible_connection": "local"}}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": localhost, "vars": variables}}))
        for count in counts:
            fill(admin, count)
            print(f"\n{count} VMs")
            one_round(admin, settings, inventory)  # fills the caches
            medians = show([one_round(admin, settings, inventory) for _round in range(rounds)])
            for what in ("1", str(MANY)):
                ratio = medians[f"{what} by claim"] / medians[f"{what} by insert_alone"]
                print(f"{what} by claim / by insert_alone   {ratio:.2f}")
            print(f"list_vms, a page / debug   {medians['list_vms, a page'] / medians['debug']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
