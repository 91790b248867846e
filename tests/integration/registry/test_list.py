# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of VMs: filters and pages."""

from __future__ import annotations

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request


@pytest.fixture
def fleet(registry: Registry) -> Registry:
    """Five VMs on two nodes."""
    registry.put_image("alpine:1", 1)
    for number, name in enumerate(["db-1", "db-2", "web-1", "web-2", "web-3"]):
        image = "alpine:1" if number % 2 else "debian-13"
        request = {"name": name, "ram": 64, "image": image, "project": name[:2], "tags": [f"t{number % 2}", "all"]}
        claim = registry.claim_new(parse_request(request), "ann@desk", 60)
        registry.record(Record(name, claim.lease or "", "stopped" if number else "running"), "ann@desk")
    return registry


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["db-1", "db-2", "web-1", "web-2", "web-3"]),
        ({"project": "db"}, ["db-1", "db-2"]),
        ({"state": "running"}, ["db-1"]),
        ({"image": "alpine"}, ["db-2", "web-2"]),
        ({"image": "alpine:1", "project": "we"}, ["web-2"]),
        ({"image": "alp"}, []),
        ({"tag": "t1"}, ["db-2", "web-2"]),
        ({"tag": "t1'; DROP TABLE vm; --"}, []),
        ({"search": "b-1"}, ["db-1", "web-1"]),
        ({"search": "%"}, []),
        ({"search": "_"}, []),
        ({"search": "\\"}, []),
        ({"after": "db-2", "tag": "all"}, ["web-1", "web-2", "web-3"]),
    ],
)
def test_filters(fleet: Registry, filters: dict[str, str | None], names: list[str]) -> None:
    assert [vm["name"] for vm in fleet.vms(filters)] == names


def test_pages_hold_every_vm_once(fleet: Registry) -> None:
    seen: list[str] = []
    after: str | None = None
    while True:
        vms, after = fleet.page({"after": after}, 2)
        seen += [vm["name"] for vm in vms]
        if after is None:
            break
    assert seen == ["db-1", "db-2", "web-1", "web-2", "web-3"]
    assert fleet.page({}, 5)[1] is None and fleet.page({}, 4)[1] == "web-2"
