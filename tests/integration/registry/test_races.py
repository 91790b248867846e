# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Fifty at once, each on a connection of its own, again and again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_cache import CacheSettings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

Sql = Callable[..., list[tuple[Any, ...]]]

AT_ONCE = 50
ROUNDS = 20


@pytest.fixture
def crowd(settings: Settings) -> Iterator[list[Registry]]:
    """So many connections to the registry."""
    without_cache = Settings(
        settings.host, settings.user, settings.password, settings.ca_file, settings.port, cache=CacheSettings()
    )
    with ExitStack() as stack:
        yield [stack.enter_context(Registry(without_cache, pytest.fail)) for _number in range(AT_ONCE)]


def at_once(acts: Sequence[Callable[[], Any]]) -> list[str]:
    """What became of each: "done", or the error's code. All start together."""
    ready = threading.Barrier(len(acts), timeout=60)

    def one(act: Callable[[], Any]) -> str:
        ready.wait()
        try:
            act()
        except VirtfleetError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(one, acts))


def creating(registry: Registry, name: str) -> Callable[[], Any]:
    spec = parse_request({"name": name, "ram": 1024})
    return lambda: registry.claim_new(spec, f"{name}@desk", 60)


def test_fifty_creates_of_one_name_make_one(crowd: list[Registry], sql: Sql) -> None:
    for number in range(ROUNDS):
        sql("TRUNCATE event, vm")
        outcome = Counter(at_once([creating(registry, f"same-{number}") for registry in crowd]))
        assert outcome == {"done": 1, "busy": AT_ONCE - 1}
        assert sql("SELECT name, count(*) FROM vm GROUP BY name") == [(f"same-{number}", 1)]
        assert sql("SELECT action FROM event") == [("create",)]


def test_fifty_creates_for_the_last_ten_places_get_ten(crowd: list[Registry], sql: Sql) -> None:
    sql("UPDATE node SET memory_mib = 5 * 1024 RETURNING name")
    for _round in range(ROUNDS):
        sql("TRUNCATE event, vm")
        outcome = Counter(at_once([creating(registry, f"vm-{number}") for number, registry in enumerate(crowd)]))
        assert outcome == {"done": 10, "no_capacity": AT_ONCE - 10}
        used = sql("SELECT node, count(*), sum(memory_mib) FROM vm GROUP BY node ORDER BY node")
        assert used == [("n1", 5, 5120), ("n2", 5, 5120)]
        assert sql("SELECT count(DISTINCT mac), count(DISTINCT id) FROM vm") == [(10, 10)]


def test_quota_and_addresses_are_given_once(crowd: list[Registry], sql: Sql) -> None:
    sql("UPDATE node SET memory_mib = 1000 * 1024 RETURNING name")
    sql("INSERT INTO project (name, vms) VALUES ('few', 10)")
    specs = [parse_request({"name": f"vm-{number}", "ram": 64, "project": "few"}) for number in range(AT_ONCE)]

    def claiming(number: int) -> Callable[[], Any]:
        return lambda: crowd[number].claim_new(specs[number], "ann@desk", 60)

    assert Counter(at_once([claiming(number) for number in range(AT_ONCE)])) == {"done": 10, "quota": AT_ONCE - 10}


def made(registry: Registry, count: int) -> list[tuple[str, str, str]]:
    """Name, id and node of so many VMs that are recorded as running."""
    requests = [(parse_request({"name": f"vm-{number:02}", "ram": 64}), ()) for number in range(count)]
    claims, _refused = registry.claim_many(requests, "ann@desk", 60)
    registry.record_many([Record(one.vm["name"], one.lease or "", "running") for one in claims], "ann@desk")
    return [(one.vm["name"], one.vm["id"], one.node["name"]) for one in claims]


def reconciling(registry: Registry, seen: Seen) -> Callable[[], Any]:
    return lambda: registry.reconcile(seen, True, "timer")


def refreshing(registry: Registry, seen: Seen) -> Callable[[], Any]:
    return lambda: registry.refresh(seen, "timer")


def recording(registry: Registry, records: list[Record]) -> Callable[[], Any]:
    return lambda: registry.record_many(records, "bob@desk")


def claiming_again(registry: Registry, names: list[str]) -> Callable[[], Any]:
    requests = [(parse_request({"name": name}), ()) for name in names]
    return lambda: registry.claim_many(requests, "ann@desk", 60)


def test_reconciles_at_once_mend_each_finding_once(crowd: list[Registry], sql: Sql) -> None:
    other = {"n1": "n2", "n2": "n1"}
    for number in range(ROUNDS):
        sql("TRUNCATE event, vm")
        vms = made(crowd[0], 20)
        seen = Seen([Domain(other[node], name, vm_id, "stopped", None) for name, vm_id, node in vms])
        assert at_once([reconciling(registry, seen) for registry in crowd[:10]]) == ["done"] * 10, number
        assert sql("SELECT count(*), count(DISTINCT vm) FROM event WHERE action = 'reconcile'") == [(20, 20)]
        assert sql("SELECT DISTINCT state FROM vm") == [("stopped",)]
        moved = {(name, other[node]) for name, _id, node in vms}
        assert set(sql("SELECT name, node FROM vm")) == moved


def test_nobody_waits_for_each_other_in_a_circle(crowd: list[Registry], sql: Sql) -> None:
    """Reconcile, refresh, claims and records of many, in whatever order they name them."""
    sql("UPDATE node SET memory_mib = 1000 * 1024 RETURNING name")
    vms = made(crowd[0], 40)
    for number in range(ROUNDS):
        state = "stopped" if number % 2 else "suspended"
        seen = Seen([Domain(node, name, vm_id, state, None) for name, vm_id, node in vms])
        backwards = [name for name, _id, _node in reversed(vms)]
        lease = f"bob@desk {number}"
        sql(
            "UPDATE vm SET lease_by = %s, lease_until = now() + interval '1 minute' WHERE name = ANY(%s)",
            lease,
            backwards[:20],
        )
        acts: list[Callable[[], Any]] = [
            recording(crowd[0], [Record(name, lease, "running") for name in backwards[:20]]),
            *(reconciling(registry, seen) for registry in crowd[1:4]),
            *(refreshing(registry, seen) for registry in crowd[4:8]),
            *(claiming_again(registry, backwards) for registry in crowd[8:12]),
        ]
        assert at_once(acts) == ["done"] * len(acts), number
