# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The claim of a clone: like its source, resumed, refused; and what is kept of where it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

Sql = Callable[..., list[tuple[Any, ...]]]

DISKS = [{"name": "data", "size": 3, "serial": "data-1"}]
CLONE = {"name": "web-2", "source": "web-1"}


@pytest.fixture
def source(registry: Registry) -> dict[str, Any]:
    """A VM that was made."""
    spec = parse_request({"name": "web-1", "ram": 512, "disk": 12, "disks": DISKS, "project": "shop"})
    claim = registry.claim_new(spec, "ann@desk", 60)
    return registry.record(Record("web-1", claim.lease or "", "running"), "ann@desk")[0]


def clone(registry: Registry, **request: Any) -> Claim:
    return registry.claim_clone({**CLONE, **request}, "ann@desk", 60)


def test_a_clone_is_like_its_source_and_is_itself(registry: Registry, source: dict[str, Any], sql: Sql) -> None:
    vm = clone(registry).vm
    same = ("memory_mib", "vcpus", "disk_gib", "disks", "image", "project")
    assert [vm[key] for key in same] == [source[key] for key in same]
    assert vm["id"] != source["id"] and vm["mac"] != source["mac"]
    assert vm["source"] == {"name": "web-1", "id": source["id"], "snapshot": None}
    ((detail,),) = sql("SELECT detail FROM event WHERE vm = %s", vm["id"])
    assert detail["source"] == vm["source"]


def test_the_snapshot_that_was_left_open_is_kept(registry: Registry, source: dict[str, Any]) -> None:
    claim = clone(registry)
    vm, change = registry.record(Record("web-2", claim.lease or "", "running", snapshot="two"), "ann@desk")
    assert vm["source"]["snapshot"] == "two" and change.after["source"]["id"] == source["id"]
    for request in ({}, {"snapshot": "two"}, {"disk": 12, "disks": [{"name": "data", "size": 3}]}):
        assert not clone(registry, **request).needed
    assert not registry.claim_new(parse_request({"name": "web-2"}), "ann@desk", 60).needed


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"source": "web-3"}, "source is web-1, not web-3"),
        ({"snapshot": "two"}, "snapshot is one, not two"),
        ({"ram": 64}, "ram is 512, not 64"),
    ],
)
def test_another_request_for_the_same_name_is_refused(
    registry: Registry, source: dict[str, Any], request_: dict[str, Any], said: str
) -> None:
    claim = clone(registry, snapshot="one")
    registry.record(Record("web-2", claim.lease or "", error={"code": "backend"}), "ann@desk")
    with pytest.raises(VirtfleetError) as caught:
        clone(registry, **request_)
    assert said in caught.value.problems
    resumed = clone(registry)
    assert resumed.resume and resumed.vm["source"]["snapshot"] == "one"


def test_half_a_clone_is_not_finished_from_its_image(registry: Registry, source: dict[str, Any]) -> None:
    claim = clone(registry)
    registry.record(Record("web-2", claim.lease or "", error={"code": "backend"}), "ann@desk")
    with pytest.raises(VirtfleetError, match=r"clone_vm\.yml finishes it"):
        registry.claim_new(parse_request({"name": "web-2"}), "ann@desk", 60)
    with pytest.raises(VirtfleetError, match="it is no clone of web-1"):
        clone(registry, name="web-1")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("state = 'deleting'", "source web-1 is being deleted"),
        ("state = 'deleted'", "source web-1 is no VM"),
        ("made = false", "source web-1 is half-made"),
        ("spec = spec || '{\"restoring\": true}'", "source web-1 is being brought back"),
    ],
)
def test_every_problem_with_the_source_and_the_request_is_named(
    registry: Registry, source: dict[str, Any], sql: Sql, damage: str, said: str
) -> None:
    sql(f"UPDATE vm SET {damage} WHERE name = 'web-1'")
    with pytest.raises(VirtfleetError) as caught:
        clone(registry, cpu="x", node="n9", snapshot="No Label")
    problems = " ".join(caught.value.problems)
    assert said in problems and "cpu 'x'" in problems and "node n9" in problems and "snapshot 'No Label'" in problems
    assert sql("SELECT count(*) FROM vm WHERE name = 'web-2'") == [(0,)]


def test_a_smaller_disk_is_refused_and_a_missing_image_is_not(
    registry: Registry, source: dict[str, Any], sql: Sql
) -> None:
    with pytest.raises(VirtfleetError) as caught:
        clone(registry, disk=11)
    assert caught.value.code == "invalid" and "never shrunk" in caught.value.problems[0]
    sql("DELETE FROM image")
    assert clone(registry).needed
