# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""One database host becomes three. On a lab of its own: nothing makes one of them again."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab, until
from .test_databases import PATRONI, redis, redis_masters

pytestmark = pytest.mark.slow

# Neither a database nor a manager of Ceph.
PROXY = "node-3"
NEW = ["node-1", "node-2"]
ROWS = 1000


def test_one_database_becomes_three_and_keeps_what_it_has(lab: Lab, tmp_path: Path) -> None:
    (first,) = lab.hosts("database")
    hosts = [first, *NEW]
    groups = {"database": NEW, "internal_haproxy": [PROXY]}
    more = tmp_path / "more.yml"
    more.write_text(json.dumps({group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()}))
    address = lab.address(PROXY)
    place: dict[str, Any] = {"registry_host": address, "registry_redis_host": address}
    lab.sql(f"CREATE TABLE public.growth AS SELECT generate_series(1, {ROWS}) AS n", first)
    created = lab.play("playbooks/create_vm.yml", name="grown", ram=64, disk=2)
    assert created.ok, created.output

    def has_all(host: str) -> bool:
        return lab.sql("SELECT count(*) FROM public.growth", host) == str(ROWS)

    def play(playbook: str, **variables: Any) -> str:
        result = lab.play(f"playbooks/{playbook}.yml", "-i", str(more), minutes=20, **place, **variables)
        assert result.ok, result.output
        return result.output

    play("site")

    members = json.loads(lab.on(first, *PATRONI, "list", "--format", "json"))
    assert {member["Member"]: member["Role"] == "Leader" for member in members} == {first: True} | dict.fromkeys(
        NEW, False
    )
    for host in hosts:
        until(partial(has_all, host), f"all rows on {host}")
    assert redis_masters(lab, hosts) == [first]
    assert "connected_slaves:2" in redis(lab, first, "info", "replication")
    # What is there, and what is made now, by the proxy.
    assert "grown" in play("list_vms")
    play("create_vm", name="after", ram=64, disk=2)
    for name in ("grown", "after"):
        play("delete_vm", name=name, purge=True, force=True)
    again = lab.play("playbooks/site.yml", "-i", str(more), **place)
    assert again.ok and again.unchanged, again.output
