# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The table of backups."""

from __future__ import annotations

from ansible_collections.virtfleet.cloud.plugins.filter.backups import backup_table


def test_whole_and_torn_backups_are_rows() -> None:
    whole = {
        "vm": "a", "name": "one", "state": "whole", "kind": "full", "bytes": 3 << 20, "guest": "frozen",
        "created_at": "2026-11-24T08:15:00Z", "volumes": ["root", "seed"],
    }  # fmt: skip
    head, first, second = backup_table([whole, {"vm": "a", "name": "two", "state": "partial"}]).splitlines()
    assert head.split() == ["VM", "BACKUP", "CREATEDAT", "KIND", "MIB", "GUEST", "STATE", "VOLUMES"]
    assert first.split() == ["a", "one", "2026-11-24T08:15:00Z", "full", "3.0", "frozen", "whole", "root,seed"]
    assert second.split() == ["a", "two", "partial"]
