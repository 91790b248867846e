# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Versions of images in the registry: which one a VM gets, and when one may leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import VmSpec, parse_request

Sql = Callable[..., list[Any]]


def _spec(**request: Any) -> VmSpec:
    return parse_request({"name": "test-1"} | request)


@pytest.fixture(autouse=True)
def versions(registry: Registry) -> None:
    for name, size in (("app:1.9", 2), ("app:1.10", 5)):
        registry.put_image(name, size)


def test_a_name_means_the_highest_version(registry: Registry) -> None:
    assert registry.claim_new(_spec(image="app"), "ann@desk", 60).vm["image"] == "app:1.10"


def test_a_version_is_taken_as_it_is(registry: Registry) -> None:
    assert registry.claim_new(_spec(image="app:1.9"), "ann@desk", 60).vm["image"] == "app:1.9"


def test_a_version_that_is_not_there_is_refused(registry: Registry) -> None:
    with pytest.raises(VirtfleetError, match=r"image app:2 is none of app:1\.10, app:1\.9, debian-13"):
        registry.claim_new(_spec(image="app:2"), "ann@desk", 60)


def test_the_disk_is_compared_with_the_version_that_is_taken(registry: Registry) -> None:
    with pytest.raises(VirtfleetError, match=r"disk 4 GiB is smaller than image app:1\.10 \(5 GiB\)"):
        registry.claim_new(_spec(image="app", disk=4), "ann@desk", 60)


def test_a_vm_keeps_its_version_when_there_is_a_higher_one(registry: Registry) -> None:
    claim = registry.claim_new(_spec(image="app"), "ann@desk", 60)
    registry.record(Record(claim.vm["name"], str(claim.lease), "running"), "ann@desk")
    registry.put_image("app:2", 2)
    assert not registry.claim_new(_spec(image="app"), "ann@desk", 60).needed
    with pytest.raises(VirtfleetError, match=r"image is app:1\.10, not app:2"):
        registry.claim_new(_spec(image="app:2"), "ann@desk", 60)


def test_an_image_leaves_unless_a_vm_is_being_made_from_it(registry: Registry) -> None:
    claim = registry.claim_new(_spec(image="app"), "ann@desk", 60)
    with pytest.raises(VirtfleetError, match=rf"being made from image app:1\.10: {claim.vm['name']}"):
        registry.drop_image("app:1.10")
    registry.record(Record(claim.vm["name"], str(claim.lease), "running"), "ann@desk")
    assert [registry.drop_image("app:1.10").changed for _n in range(2)] == [True, False]
    assert list(registry.images()) == ["app:1.9", "debian-13"]


def test_what_was_done_is_kept_in_the_history(registry: Registry, sql: Sql) -> None:
    claim = registry.claim_new(_spec(image="app"), "ann@desk", 60)
    name = claim.vm["name"]
    registry.record(Record(name, str(claim.lease), "running"), "ann@desk")
    for done in ("flatten", None):
        lease = str(registry.claim_existing(name, "flatten", "ann@desk", 60).lease)
        registry.record(Record(name, lease, event=done), "ann@desk")
    assert [row[0] for row in sql("SELECT action FROM event ORDER BY id")] == ["create", "running", "flatten"]
