# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the registry promises of a VM that moves to another node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

Sql = Callable[..., list[tuple[Any, ...]]]

ACTOR = "ann@desk"


def _made(registry: Registry, name: str = "test-1", **given: Any) -> None:
    claim = registry.claim_new(parse_request({"name": name, **given}), ACTOR, 60)
    registry.record(Record(name, claim.lease or "", "running"), ACTOR)


def _claim(registry: Registry, node: str | None = None) -> Claim:
    return registry.claim_move("test-1", node, ACTOR, 60)


def _lose_lease(sql: Sql) -> None:
    sql("UPDATE vm SET lease_until = now() - interval '1 second' RETURNING 1")


def _refused(registry: Registry, node: str | None = None) -> VirtfleetError:
    with pytest.raises(VirtfleetError) as caught:
        _claim(registry, node)
    return caught.value


def test_a_move_is_claimed_and_recorded(registry: Registry, sql: Sql) -> None:
    _made(registry, node="n1")
    claim = _claim(registry, "n2")
    assert claim.needed and claim.vm["state"] == "migrating" and not claim.resume
    assert (claim.node["name"], (claim.target or {})["name"]) == ("n1", "n2")
    vm, change = registry.record(Record("test-1", claim.lease or "", "running", node="n2", address_kept=False), ACTOR)
    assert (vm["node"], vm["state"], vm["ip"]) == ("n2", "running", None)
    assert change.before["state"] == "migrating" and change.after["node"] == "n2"
    assert registry.location("test-1")[0]["name"] == "n2"
    assert sql("SELECT spec ? 'moving_to' FROM vm") == [(False,)]
    events = sql("SELECT action, detail->>'to', detail->>'node' FROM event ORDER BY id DESC LIMIT 2")
    assert events == [("migrated", None, '["n1", "n2"]'), ("migrate", "n2", None)]


def test_to_the_node_that_it_is_on_needs_nothing(registry: Registry) -> None:
    _made(registry, node="n1")
    claim = _claim(registry, "n1")
    assert not claim.needed and claim.lease is None and not claim.change.changed


def test_without_a_node_it_goes_where_it_would_be_put_and_stays_there(registry: Registry) -> None:
    _made(registry, "big", node="n1", ram=2048)
    _made(registry, node="n1")
    claim = _claim(registry)
    assert (claim.target or {})["name"] == "n2"
    registry.record(Record("test-1", claim.lease or "", "running", node="n2"), ACTOR)
    assert not _claim(registry).needed


def test_room_is_taken_on_both_nodes_meanwhile(registry: Registry) -> None:
    _made(registry, node="n1", ram=3000)
    _claim(registry, "n2")
    for node in ("n1", "n2"):
        with pytest.raises(VirtfleetError, match="No node has room"):
            _made(registry, "other", node=node, ram=3000)


def test_what_is_refused(registry: Registry, sql: Sql) -> None:
    assert _refused(registry).code == "not_found"
    _made(registry, "full", node="n2", ram=3000)
    _made(registry, node="n1", ram=3000)
    error = _refused(registry, "n2")
    assert error.code == "no_capacity" and "n2: 1096 MiB of memory free, 3000 needed" in error.problems
    error = _refused(registry, "nowhere")
    assert error.code == "invalid" and error.problems == ("node nowhere is none of n1, n2",)
    assert sql("SELECT state, lease_by FROM vm WHERE name = 'test-1'") == [("running", None)]


def test_a_move_that_was_cut_off_is_continued_or_given_up_and_nothing_else(registry: Registry, sql: Sql) -> None:
    _made(registry, node="n1")
    _claim(registry, "n2")
    assert _refused(registry).code == "busy"
    _lose_lease(sql)
    for intent in ("stop", "delete"):
        with pytest.raises(VirtfleetError, match="half-way from n1 to n2"):
            registry.claim_existing("test-1", intent, ACTOR, 60)
    registry.refresh(Seen([Domain("n1", "test-1", sql("SELECT id::text FROM vm")[0][0], "running", None)]), ACTOR)
    assert sql("SELECT state FROM vm") == [("migrating",)]
    claim = _claim(registry)
    assert claim.resume and (claim.target or {})["name"] == "n2"
    _lose_lease(sql)
    back = _claim(registry, "n1")
    assert back.needed and (back.target or {})["name"] == "n1"
    vm, _change = registry.record(Record("test-1", back.lease or "", "running", node="n1"), ACTOR)
    assert vm["node"] == "n1" and not _claim(registry, "n1").needed


def test_a_failure_leaves_it_migrating_unless_it_is_known_to_be_as_it_was(registry: Registry, sql: Sql) -> None:
    _made(registry, node="n1")
    error = {"code": "timeout", "message": "m", "hint": "h", "problems": []}
    claim = _claim(registry, "n2")
    registry.record(Record("test-1", claim.lease or "", None, "Move it", error), ACTOR)
    assert sql("SELECT state, spec->>'moving_to' FROM vm") == [("migrating", "n2")]
    claim = _claim(registry)
    registry.record(Record("test-1", claim.lease or "", "running", "Move it", error), ACTOR)
    assert sql("SELECT state, spec->>'moving_to' FROM vm") == [("running", None)]
