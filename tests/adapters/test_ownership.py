# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the adapter for the owners of VMs that move promises."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import ceph_ownership
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict
from ansible_collections.virtfleet.cloud.plugins.module_utils.ownership import Ownership
from ansible_collections.virtfleet.cloud.tests.unit.doubles_migration import FakeOwners

from .conftest import Pool

HERE, SHARED, THERE = Ownership("node-1"), Ownership("node-1", "node-2"), Ownership("node-2")


@pytest.fixture
def owners(pool: Pool, ceph_kind: str) -> Any:
    return ceph_ownership.OwnerStore(pool.adapter) if ceph_kind == "ceph" else FakeOwners(pool.adapter)


def test_it_reads_what_take_ownership_wrote(pool: Pool, owners: Any) -> None:
    assert owners.read(pool.vm_id) is None
    pool.adapter.take_ownership(pool.vm_id, "node-1")
    assert owners.read(pool.vm_id) == HERE


def test_an_owner_is_shared_and_handed_over(pool: Pool, owners: Any) -> None:
    pool.adapter.take_ownership(pool.vm_id, "node-1")
    owners.change(pool.vm_id, HERE, SHARED)
    assert owners.read(pool.vm_id) == SHARED
    assert pool.adapter.owner(pool.vm_id) not in ("node-1", "node-2")
    owners.change(pool.vm_id, SHARED, THERE)
    assert pool.adapter.owner(pool.vm_id) == "node-2"


def test_an_owner_that_is_another_by_now_is_not_overwritten(pool: Pool, owners: Any) -> None:
    pool.adapter.take_ownership(pool.vm_id, "node-1")
    with pytest.raises(Conflict):
        owners.change(pool.vm_id, SHARED, THERE)
    assert owners.read(pool.vm_id) == HERE


def test_an_owner_that_is_gone_does_not_come_back(pool: Pool, owners: Any) -> None:
    with pytest.raises(Conflict):
        owners.change(pool.vm_id, HERE, SHARED)
    assert owners.read(pool.vm_id) is None
