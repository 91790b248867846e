# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a VM as people read it."""

from __future__ import annotations

from ansible_collections.virtfleet.cloud.plugins.filter.vm_history import history_table


def test_the_first_things_are_first_and_changes_are_from_and_to() -> None:
    events = [
        {"at": "T2", "actor": "bob (AWX job 7)", "action": "change", "detail": {"memory_mib": [512, 1024]}},
        {"at": "T1", "actor": "ann@desk", "action": "running", "detail": {"state": ["creating", "running"]}},
        {"at": "T0", "actor": "ann@desk", "action": "create", "detail": {"node": "n1", "ip": [None, "192.0.2.7"]}},
    ]
    assert history_table(events).splitlines() == [
        "AT  WHO              WHAT     DETAIL",
        "T0  ann@desk         create   node: n1, ip: - -> 192.0.2.7",
        "T1  ann@desk         running  state: creating -> running",
        "T2  bob (AWX job 7)  change   memory_mib: 512 -> 1024",
    ]
