# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A registry that was lost is rebuilt from what nodes and pool tell, and what it has is never touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request
from ansible_collections.virtfleet.cloud.plugins.module_utils.subnet import read_subnet

Sql = Callable[..., list[tuple[Any, ...]]]
NODES = {
    name: {"address": f"10.0.0.{number}", "vcpus": 8, "memory_mib": 4096} for number, name in enumerate(("n1", "n2"), 1)
}
IMAGES = {"debian-13": 3}
ASKED: dict[str, Any] = {
    "name": "a", "ram": 128, "ram_max": 256, "cpu": 2, "disk": 5, "project": "shop", "tags": ["web", "tier=1"],
    "disks": [{"name": "data", "size": 3, "filesystem": "ext4", "mount": "/data"}], "protected": True,
    "anti_affinity": {"group": "db", "hard": False}, "ip": "auto", "subnet": "lan", "guest_user": "ann",
    "user_data": {"packages": ["vim"]}, "ssh_authorized_keys": ["ssh-ed25519 AAAA ann"],
}  # fmt: skip
# A row but for when it was written, and with its first time as it is shown.
COMPARED = """to_jsonb(vm) - '{updated_at, lease_by, lease_until}'::text[]
    || jsonb_build_object('created_at', date_trunc('milliseconds', created_at))"""


def made(registry: Registry, request: dict[str, Any]) -> Claim:
    claim = registry.claim_new(parse_request(request), "ann@desk", 60)
    registry.record(Record(claim.vm["name"], claim.lease or "", "running"), "ann@desk")
    return claim


def domain_of(claim: Claim, **other: Any) -> Domain:
    """What the node and the pool tell of a VM that was made as it was claimed."""
    vm = claim.vm
    names = ("project", "image", "memory_mib", "memory_max_mib", "vcpus", "vcpus_max", "disk_gib")
    disks = [{"name": disk["name"], "size_gib": disk["size_gib"], "serial": disk["serial"]} for disk in vm["disks"]]
    place = ("mac", "network", "bridge", "vlan")
    networks = [{key: nic[key] for key in place if key in nic} for nic in vm["networks"]]
    facts = {"disks": disks, "networks": networks, "parent": f"{vm['image']}@golden", "record": claim.record}
    owner = {"owner": vm["node"], "moving_to": None}
    details = {name: vm[name] for name in names} | facts | owner | other
    return Domain(vm["node"], vm["name"], vm["id"], "running", None, details)


def lose(sql: Sql, cache: redis.Redis) -> None:
    sql("TRUNCATE event, vm, image, node, project, subnet CASCADE")
    for key in cache.keys("vm:*"):
        cache.delete(key)


def rebuilt(registry: Registry, seen: Seen) -> list[tuple[str, str, str]]:
    found = registry.rebuild(seen, NODES, IMAGES, "ann@desk")
    return [(finding.kind, finding.name, finding.action) for finding in found]


def test_it_is_what_it_was_and_goes_on(registry: Registry, cache: redis.Redis, sql: Sql) -> None:
    lan = read_subnet({"name": "lan", "cidr": "192.0.2.0/24", "bridge": "br0"})
    registry.put_subnet(lan)
    first, second = made(registry, ASKED), made(registry, {"name": "b"})
    seen = Seen([domain_of(first), domain_of(second)])
    before = [row for (row,) in sql(f"SELECT {COMPARED} FROM vm ORDER BY name")]
    lose(sql, cache)
    assert rebuilt(registry, seen) == [
        ("unknown_node", "n1", "record it"), ("unknown_node", "n2", "record it"),
        ("unknown_image", "debian-13", "record it"),
        ("unknown_domain", "a", "record it"), ("unknown_domain", "b", "record it"),
        ("unknown_subnet", "lan", ""),
    ]  # fmt: skip
    for row, (now,) in zip(before, sql(f"SELECT {COMPARED} FROM vm ORDER BY name"), strict=True):
        assert {key: value for key, value in now.items() if row[key] != value} == {}
    assert sql("SELECT action, actor FROM event") == [("rebuild", "ann@desk")] * 2
    assert registry.location("a") == (
        {"name": first.vm["node"], "address": NODES[first.vm["node"]]["address"]},
        "redis",
    )
    # Nothing more the second time, and only a person knows what the subnet was.
    assert rebuilt(registry, seen) == [("unknown_subnet", "lan", "")]
    registry.put_subnet(lan)
    assert rebuilt(registry, seen) == []
    # The same create has nothing to do, and each of the others something.
    for request in (ASKED, {"name": "b"}):
        assert not registry.claim_new(parse_request(request), "ann@desk", 60).needed
    for intent in ("stop", "start", "snapshot", "delete"):
        claim = registry.claim_existing("b", intent, "ann@desk", 60)
        registry.record(Record("b", claim.lease or "", "running"), "ann@desk")
    claim = registry.claim_change("a", {"ram": 192}, "ann@desk", 60)
    assert claim.vm["memory_mib"] == 192 and claim.record and claim.record["request"]["ram"] == 192


def test_a_change_of_it_is_in_the_next_record(registry: Registry) -> None:
    made(registry, {"name": "a"})
    claim = registry.claim_change("a", {"protected": True}, "ann@desk", 60)
    assert claim.record is not None and claim.record["request"]["protected"] is True
    # It is told to nodes as JSON.
    assert json.loads(json.dumps(claim.record)) == claim.record


def test_what_is_there_is_never_touched(registry: Registry, sql: Sql) -> None:
    claim = made(registry, {"name": "a", "ram": 128})
    seen = Seen([domain_of(claim, memory_mib=512, record=None)])
    tables = "SELECT to_jsonb(vm) FROM vm", "SELECT to_jsonb(node) FROM node", "SELECT to_jsonb(image) FROM image"
    before = [sql(table) for table in tables]
    other = {name: node | {"vcpus": 64} for name, node in NODES.items()}
    assert registry.rebuild(seen, other, {"debian-13": 9}, "ann@desk") == []
    assert [sql(table) for table in tables] == before


def test_reconcile_records_it_only_where_that_is_asked_for(registry: Registry, sql: Sql) -> None:
    claim = made(registry, {"name": "a", "tags": ["web"]})
    sql("DELETE FROM event")
    sql("DELETE FROM vm")
    seen = Seen([domain_of(claim)])
    for apply in (False, True):
        assert sql("SELECT count(*) FROM vm") == [(0,)]
        found, _ids = registry.reconcile(seen, apply, "timer@manager")
        assert [(finding.kind, finding.action) for finding in found] == [("unknown_domain", "record it")]
    assert sql("SELECT name, node, state, tags, made FROM vm") == [("a", claim.vm["node"], "running", ["web"], True)]
    assert sql("SELECT action FROM event") == [("reconcile",)]
    assert registry.location("a")[0]["name"] == claim.vm["node"]
    assert registry.reconcile(seen, True, "timer@manager")[0] == []


def test_what_was_deleted_does_not_come_back_by_itself(registry: Registry, sql: Sql) -> None:
    claim = made(registry, {"name": "a"})
    deleting = registry.claim_existing("a", "delete", "ann@desk", 60)
    registry.forget("a", deleting.lease or "", "ann@desk")
    assert rebuilt(registry, Seen([domain_of(claim)])) == [("unknown_domain", "a", "")]
    assert sql("SELECT state FROM vm") == [("deleted",)]


def test_a_move_that_was_under_way_goes_on(registry: Registry, cache: redis.Redis, sql: Sql) -> None:
    claim = made(registry, {"name": "a", "node": "n1"})
    lose(sql, cache)
    registry.rebuild(Seen([domain_of(claim, moving_to="n2")]), NODES, IMAGES, "ann@desk")
    assert sql("SELECT node, state FROM vm") == [("n1", "migrating")]
    move = registry.claim_move("a", None, "ann@desk", 60)
    assert move.resume and move.target == {"name": "n2", "address": "10.0.0.2"}


def test_a_check_inserts_nothing(registry: Registry, settings: Settings, cache: redis.Redis, sql: Sql) -> None:
    claim = made(registry, {"name": "a"})
    lose(sql, cache)
    with Registry(settings, pytest.fail, check=True) as checking:
        assert len(rebuilt(checking, Seen([domain_of(claim)]))) == 4
    assert sql("SELECT (SELECT count(*) FROM vm) + (SELECT count(*) FROM node)") == [(0,)]
    assert not cache.keys("vm:*")


def test_the_cache_is_emptied(registry: Registry, settings: Settings, cache: redis.Redis) -> None:
    for name in ("a", "b"):
        made(registry, {"name": name})
    with Registry(settings, pytest.fail, check=True) as checking:
        assert checking.empty_cache() == ["a", "b"]
    assert registry.empty_cache() == ["a", "b"] and registry.empty_cache() == []
    assert registry.location("a")[1] == "postgresql"
