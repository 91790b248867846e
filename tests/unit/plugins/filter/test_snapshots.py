# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The table of snapshots."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.virtfleet.cloud.plugins.filter.snapshots import snapshot_table
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import GIB
from ansible_collections.virtfleet.cloud.plugins.module_utils.snapshot_plan import RbdSnapshot, Record, SeenVm, Volume


def test_the_table_shows_what_is_missing() -> None:
    part = RbdSnapshot(1, 10 * GIB, "2026-11-24T08:15:00Z")
    volumes = (Volume("a.root", 10 * GIB, 0, {"one": replace(part, used_bytes=GIB // 2), "by-hand": part}),)
    seen = SeenVm(None, None, volumes, {"one": Record(("a.data", "a.root"), "frozen", done=True)})
    assert snapshot_table(found.view() for found in seen.snapshots()).splitlines() == [
        "SNAPSHOT  CREATEDAT             SIZE  USED  GUEST   STATE       VOLUMES",
        "by-hand   2026-11-24T08:15:00Z  10                  foreign     a.root",
        "one       2026-11-24T08:15:00Z  10    0.50  frozen  incomplete  a.root,-a.data",
    ]


def test_the_table_of_none_is_its_headings() -> None:
    assert snapshot_table([]) == "SNAPSHOT  CREATEDAT  SIZE  USED  GUEST  STATE  VOLUMES"
