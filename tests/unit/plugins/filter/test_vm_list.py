# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of VMs for programs and for people."""

from __future__ import annotations

from ansible_collections.virtfleet.cloud.plugins.filter.vm_list import COLUMNS, vm_list, vm_table

VM = {
    "name": "test-1", "memory_mib": 1024, "vcpus": 2, "disk_gib": 10, "ip": None,
    "created_at": "2026-01-01T00:00:00Z", "node": "node-1", "state": "running", "image": "debian-13",
}  # fmt: skip


def test_the_fields_of_the_list() -> None:
    (row,) = vm_list([VM])
    assert tuple(row) == COLUMNS
    assert row["IP"] == "unassigned"
    assert row["RAM"] == "1024"


def test_the_columns_of_the_table_are_aligned() -> None:
    head, first, second = vm_table(vm_list([VM, {**VM, "name": "a-longer-name"}])).splitlines()
    assert head.index("RAM") == first.index("1024") == second.index("1024")


def test_an_empty_table_has_its_headings() -> None:
    assert vm_table([]).split() == [column.upper() for column in COLUMNS]
