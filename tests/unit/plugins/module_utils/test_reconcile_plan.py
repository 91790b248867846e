# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the registry and what is there, and what mends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.filter.findings import findings_table
from ansible_collections.virtfleet.cloud.plugins.module_utils.orphan_plan import PoolVolume, decide_orphans, orphans
from ansible_collections.virtfleet.cloud.plugins.module_utils.rebuild_plan import Known
from ansible_collections.virtfleet.cloud.plugins.module_utils.reconcile_plan import compare, summary
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen

ROW: dict[str, Any] = {
    "id": "1", "name": "a", "node": "n1", "state": "running", "ip": "192.0.2.1", "made": True, "leased": False,
    "step": None, "mac": "52:54:00:00:00:01", "spec": {},
}  # fmt: skip
HERE = Domain("n1", "a", "1", "running", "192.0.2.1")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def found(row: dict[str, Any] | None = None, **seen: Any) -> list[tuple[str, str, str]]:
    rows = [] if row is None else [ROW | row]
    return [(finding.kind, finding.name, finding.action) for finding in compare(Known(rows), Seen(**seen))]


@pytest.mark.parametrize(
    ("row", "seen", "expected"),
    [
        ({}, {"domains": [HERE], "cache": {"a": "n1"}}, []),
        ({"state": "stopped"}, {"domains": [HERE]}, [("wrong_state", "a", "record state running")]),
        ({"ip": None}, {"domains": [HERE]}, [("missing_address", "a", "record ip 192.0.2.1")]),
        ({"ip": "192.0.2.9"}, {"domains": [HERE]}, [("wrong_address", "a", "record ip 192.0.2.1")]),
        ({"node": "n2"}, {"domains": [HERE]}, [("wrong_node", "a", "record node n1, state running")]),
        ({}, {}, [("missing_domain", "a", "define it there again")]),
        ({}, {"silent": ["n1"]}, []),
        ({}, {"silent": ["n2"]}, []),
        ({"node": "n3"}, {"domains": [HERE], "silent": ["n3"]}, []),
        ({"leased": True, "state": "stopped"}, {"domains": [HERE]}, []),
        ({"made": False, "state": "creating"}, {"domains": []}, [("half_made", "a", "")]),
        ({"state": "deleting"}, {"domains": []}, [("half_made", "a", "")]),
        ({"state": "migrating"}, {"domains": [HERE]}, [("half_made", "a", "")]),
        ({}, {"domains": [HERE], "cache": {"a": "n2"}}, [("stale_cache", "a", "have Redis say n1")]),
        ({}, {"domains": [HERE], "cache": {"b": "n2"}}, [("stale_cache", "b", "have Redis forget it")]),
        ({}, {"domains": [HERE], "foreign": {"n1": ["theirs"]}}, [("unknown_domain", "theirs", "")]),
        (None, {"domains": [HERE]}, [("unknown_domain", "a", "")]),
    ],
)
def test_what_differs(row: dict[str, Any] | None, seen: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert found(row, **seen) == expected


def test_a_vm_with_domains_on_two_nodes_is_for_a_person() -> None:
    there = Domain("n2", "a", "1", "running", None)
    assert found({}, domains=[HERE, there]) == [("wrong_node", "a", "")]
    assert found({"node": "n3"}, domains=[HERE, there]) == [("wrong_node", "a", "")]


def test_orphans_go_when_they_are_old_and_nobody_has_them_open() -> None:
    old, young = NOW - timedelta(hours=25), NOW - timedelta(hours=23)
    volumes = [
        PoolVolume("z.root", "9", 0, old), PoolVolume("y.root", "9", 1, old), PoolVolume("x.root", "9", 0, young),
        PoolVolume("a.root", "1", 0, old),
    ]  # fmt: skip
    seen = orphans({"1"}, volumes, NOW, timedelta(hours=24))
    assert [(orphan.volume.name, orphan.stays) for orphan in seen] == [
        ("x.root", "it is younger than 24 hours"), ("y.root", "it is in use"), ("z.root", ""),
    ]  # fmt: skip
    plan = decide_orphans(seen)
    assert plan.actions == ["trash z.root"] and plan.after == {"orphans": ["x.root", "y.root"]}
    lines = findings_table([orphan.view() for orphan in seen]).splitlines()
    assert lines[0].split() == ["NAME", "KIND", "DETAIL", "ACTION"] and lines[3].endswith("move to the trash")
    assert findings_table([]) == "Nothing differs."


def test_the_summary_counts_states_and_says_how_long_one_is_half_made() -> None:
    assert summary([]) == {"states": {}, "half_made_seconds": 0}
    rows = [
        ROW | {"unchanged_seconds": 900},
        ROW | {"unchanged_seconds": 60, "made": False, "state": "creating"},
        ROW | {"unchanged_seconds": 30, "state": "deleting"},
        ROW | {"unchanged_seconds": 600, "made": False, "state": "creating", "leased": True},
    ]
    assert summary(rows) == {"states": {"running": 1, "creating": 2, "deleting": 1}, "half_made_seconds": 60}
