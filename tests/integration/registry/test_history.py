# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to VMs: who, what, from what to what; and that nobody can change it afterwards."""

from __future__ import annotations

import psycopg2
import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import NotFound
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request


def test_every_change_says_who_what_from_and_to(registry: Registry) -> None:
    claim = registry.claim_new(parse_request({"name": "a", "node": "n1"}), "ann@desk", 60)
    registry.record(Record("a", claim.lease or "", "running"), "ann@desk")
    changed = registry.claim_change("a", {"ram": 2048}, "bob (AWX job 7)", 60)
    registry.record(Record("a", changed.lease or ""), "bob (AWX job 7)")
    lease = registry.claim_existing("a", "delete", "eve@desk", 60).lease or ""
    registry.forget("a", lease, "eve@desk")
    events = [(event["actor"], event["action"], event["detail"]) for event in registry.history("a", 10)]
    assert events == [
        ("eve@desk", "delete", {}),
        ("bob (AWX job 7)", "change", {"memory_mib": [1024, 2048], "memory_max_mib": [1024, 2048]}),
        ("ann@desk", "running", {"state": ["creating", "running"]}),
        ("ann@desk", "create", {"node": "n1"}),
    ]
    assert len(registry.history("a", 2)) == 2


def test_a_name_that_nobody_had_is_told(registry: Registry) -> None:
    with pytest.raises(NotFound, match="never was"):
        registry.history("nobody", 10)


def test_the_writing_role_changes_no_event(registry: Registry, settings: Settings) -> None:
    registry.claim_new(parse_request({"name": "a"}), "ann@desk", 60)
    connection = psycopg2.connect(
        host=settings.host, port=settings.port, dbname="virtfleet", user=settings.user, password=settings.password,
        sslmode="require", options="-c search_path=virtfleet",
    )  # fmt: skip
    connection.autocommit = True
    with connection.cursor() as cursor:
        for forbidden in ("UPDATE event SET actor = 'x'", "DELETE FROM event", "TRUNCATE event"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(forbidden)
    connection.close()
