# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry and Redis are brought to what the nodes say, and left alone where nobody asked for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

Sql = Callable[..., list[tuple[Any, ...]]]


def make(registry: Registry, name: str, node: str) -> str:
    claim = registry.claim_new(parse_request({"name": name, "node": node}), "ann@desk", 60)
    registry.record(Record(name, claim.lease or "", "running"), "ann@desk")
    return str(claim.vm["id"])


def kinds(registry: Registry, seen: Seen, apply: bool = False) -> list[tuple[str, str]]:
    return [(finding.name, finding.kind) for finding in registry.reconcile(seen, apply, "timer@manager")[0]]


def test_it_is_reported_first_and_then_mended_once(registry: Registry, cache: redis.Redis, sql: Sql) -> None:
    ids = {name: make(registry, name, "n1") for name in ("a", "b", "c")}
    cache.set("vm:gone", json.dumps({"name": "n1", "address": "10.0.0.1"}))
    cache.set("vm:c", "lies")
    seen = Seen(
        [
            Domain("n2", "a", ids["a"], "running", None),
            Domain("n1", "b", ids["b"], "stopped", None),
            Domain("n1", "c", ids["c"], "running", "192.0.2.7"),
        ]
    )
    different = [
        ("a", "wrong_node"), ("b", "wrong_state"), ("c", "missing_address"), ("c", "stale_cache"),
        ("gone", "stale_cache"),
    ]  # fmt: skip
    before = sql("SELECT node, state, ip FROM vm ORDER BY name")
    assert kinds(registry, seen) == different == kinds(registry, seen)
    assert sql("SELECT node, state, ip FROM vm ORDER BY name") == before
    assert kinds(registry, seen, apply=True) == different
    assert kinds(registry, seen) == []
    assert sql("SELECT node, state, host(ip) FROM vm ORDER BY name") == [
        ("n2", "running", None), ("n1", "stopped", None), ("n1", "running", "192.0.2.7"),
    ]  # fmt: skip
    assert [registry.location(name)[0]["name"] for name in ("a", "b", "c")] == ["n2", "n1", "n1"]
    assert cache.get("vm:gone") is None
    events = sql("SELECT actor, detail->>'found' FROM event WHERE action = 'reconcile' ORDER BY id")
    assert events == [("timer@manager", kind) for kind in ("wrong_node", "wrong_state", "missing_address")]


def test_a_vm_that_somebody_is_changing_is_left_alone(registry: Registry) -> None:
    vm_id = make(registry, "a", "n1")
    lease = registry.claim_existing("a", "stop", "ann@desk", 60).lease or ""
    seen = Seen([Domain("n1", "a", vm_id, "stopped", None)])
    assert kinds(registry, seen, apply=True) == []
    registry.record(Record("a", lease, "running"), "ann@desk")
    assert kinds(registry, seen) == [("a", "wrong_state")]


def test_check_mode_mends_nothing(registry: Registry, settings: Settings, sql: Sql) -> None:
    vm_id = make(registry, "a", "n1")
    seen = Seen([Domain("n1", "a", vm_id, "stopped", None)])
    with Registry(settings, pytest.fail, check=True) as checking:
        assert kinds(checking, seen, apply=True) == [("a", "wrong_state")]
    assert sql("SELECT state FROM vm") == [("running",)]


def test_a_refresh_writes_what_changes_by_itself_and_tells_it(registry: Registry, sql: Sql) -> None:
    ids = {name: make(registry, name, "n1") for name in ("a", "b")}
    for ip, state in (("192.0.2.7", "running"), ("192.0.2.8", "suspended")):
        seen = Seen([Domain("n1", "a", ids["a"], state, ip), Domain("n2", "b", ids["b"], "stopped", None)])
        assert registry.refresh(seen, "timer").after == {"a": {"state": state, "ip": ip}}
    # One that is on another node than recorded is left to reconcile.
    assert sql("SELECT node, state FROM vm WHERE name = 'b'") == [("n1", "running")]
    found = sql("SELECT detail->>'found' FROM event WHERE action = 'refresh' ORDER BY id")
    assert found == [("missing_address",), ("wrong_address",), ("wrong_state",)]


def test_the_summary_is_of_all_that_are_there(registry: Registry, sql: Sql) -> None:
    make(registry, "a", "n1")
    registry.claim_new(parse_request({"name": "b"}), "ann@desk", 60)
    assert registry.summary() == {"states": {"running": 1, "creating": 1}, "half_made_seconds": 0}
    sql(
        "UPDATE vm SET updated_at = now() - interval '1 hour', lease_until = now() - interval '1 hour' WHERE name = 'b'"
    )
    assert registry.summary()["half_made_seconds"] == 3600
