# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Many VMs in one request."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.filter.bulk_report import bulk_report
from ansible_collections.virtfleet.cloud.plugins.module_utils.bulk import expand
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid


def test_count_and_prefix_make_names() -> None:
    assert expand({"count": "2", "prefix": "web", "ram": 512}) == [
        {"ram": 512, "name": "web-1"},
        {"ram": 512, "name": "web-2"},
    ]


def test_what_is_common_holds_where_a_vm_does_not_say_otherwise() -> None:
    assert expand({"vms": [{"name": "a"}, {"name": "b", "ram": 1024}], "ram": 512, "user_data": {}}) == [
        {"ram": 512, "user_data": {}, "name": "a"},
        {"ram": 1024, "user_data": {}, "name": "b"},
    ]


@pytest.mark.parametrize(
    ("request_", "problems"),
    [
        ({}, ["count None is not", "prefix is missing"]),
        ({"count": 0, "prefix": "a"}, ["count 0 is not"]),
        ({"count": 1001, "prefix": "a"}, ["count 1001 is not"]),
        ({"vms": [{"name": "a"}], "count": 1}, ["two ways"]),
        ({"vms": []}, ["not a list of mappings"]),
        ({"vms": "a"}, ["not a list of mappings"]),
        ({"vms": ["a"]}, ["not a list of mappings"]),
        ({"vms": [{"name": "a"}, {"name": "a", "user_data": {}}]}, ["name a is there twice", "a: user_data can only"]),
    ],
)
def test_lists_that_cannot_be(request_: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        expand(request_)
    assert len(refused.value.problems) == len(problems)
    assert all(said in problem for said, problem in zip(problems, refused.value.problems, strict=True))


def test_the_report_has_a_line_for_each_in_natural_order() -> None:
    def claim(name: str, needed: bool = True) -> dict[str, Any]:
        return {"vm": {"name": name}, "node": {"name": "node-1"}, "needed": needed}

    claimed = {
        "claims": [claim("web-10"), claim("web-9"), claim("web-8", needed=False), claim("web-7")],
        "refused": {"Bad": {"message": "The request is not valid", "problems": ["name 'Bad' is no label"]}},
    }
    results = [{"name": "web-9", "timings_ms": {"clone": 30, "total": 40}}]
    failed = {"web-10": {"message": "Ceph did not answer", "problems": []}}
    assert bulk_report(claimed, results, failed) == [
        "Bad: refused: The request is not valid: name 'Bad' is no label",
        "web-7 on node-1: would be made",
        "web-8 on node-1: nothing to do",
        "web-9 on node-1: clone 30 ms, total 40 ms",
        "web-10 on node-1: FAILED: Ceph did not answer",
    ]
