# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are cordoned, groups, quotas, subnets, and lists of what there is, by the playbooks of users."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Lab, Result

STOPPED: dict[str, Any] = {"ram": 64, "disk": 5, "start": False, "project": "pets"}


@pytest.fixture(scope="module")
def cats(lab: Lab) -> Iterator[list[str]]:
    """Two VMs of one hard group, so that each of the two nodes has one."""
    names = ["cat-1", "cat-2"]
    request: dict[str, Any] = {"vms": [{"name": name} for name in names], "anti_affinity": "cats", "tags": ["purrs"]}
    made = lab.play("playbooks/create_vms.yml", **STOPPED, **request)
    assert made.ok, made.output
    yield names
    for name in names:
        lab.play("playbooks/delete_vm.yml", name=name, purge=True)


def create(lab: Lab, name: str, **asked: Any) -> Result:
    return lab.play("playbooks/create_vm.yml", "--check", name=name, **STOPPED | asked)


def test_a_group_is_spread_and_refused_where_no_node_is_left(lab: Lab, cats: list[str]) -> None:
    nodes = lab.sql("SELECT count(DISTINCT node) FROM virtfleet.vm WHERE project = 'pets' AND state <> 'deleted'")
    assert nodes == "2"
    refused = create(lab, "cat-3", anti_affinity="cats")
    assert not refused.ok and "node-1: has a VM of group cats" in refused.output
    assert create(lab, "cat-3", anti_affinity={"group": "cats", "hard": False}).ok


def test_one_that_fails_does_not_stop_the_others_and_the_exit_code_says_so(lab: Lab, cats: list[str]) -> None:
    vms: list[dict[str, Any]] = [{"name": "cat-1"}, {"name": "Bad"}, {"name": "huge", "ram": "1TiB"}, {"name": "cow-1"}]
    try:
        made = lab.play("playbooks/create_vms.yml", **STOPPED, vms=vms)
        output = " ".join(made.output.split())
        assert not made.ok and "2 of 4 failed: Bad, huge" in output, made.output
        for words in ("Bad: refused: The request is not valid", "huge: refused: No node has room", "cat-1 on node-"):
            assert words in output, made.output
        line = re.search(r"cow-1 on node-\d: observe \d+ ms, .*define \d+ ms, .*total \d+ ms", output)
        assert line, made.output
        assert lab.sql("SELECT state FROM virtfleet.vm WHERE name = 'cow-1' AND state <> 'deleted'") == "stopped"
    finally:
        lab.play("playbooks/delete_vm.yml", name="cow-1", purge=True)


def test_nothing_is_put_on_a_node_that_is_cordoned(lab: Lab, cats: list[str]) -> None:
    try:
        for changed in (True, False):
            cordoned = lab.play("playbooks/cordon_node.yml", node="node-1")
            assert cordoned.ok and cordoned.unchanged is not changed, cordoned.output
        refused = create(lab, "dog-1", node="node-1")
        assert not refused.ok and "node-1: cordoned" in refused.output
        assert lab.play("playbooks/refresh_vms.yml").ok
        listed = lab.play("playbooks/list_nodes.yml")
        assert listed.ok and "cordoned" in listed.output and "SEEN" in listed.output, listed.output
        print(listed.output)
    finally:
        assert lab.play("playbooks/uncordon_node.yml", node="node-1").ok
    assert create(lab, "dog-1", node="node-1").ok


def test_a_project_has_what_its_quota_says(lab: Lab, cats: list[str]) -> None:
    for changed in (True, False):
        limited = lab.play("playbooks/set_quota.yml", project="pets", vms=2, ram="1GiB")
        assert limited.ok and limited.unchanged is not changed, limited.output
    refused = create(lab, "cat-3")
    assert not refused.ok and "0 of 2 VMs free, 1 needed" in refused.output
    listed = lab.play("playbooks/list_projects.yml")
    assert listed.ok and "128 of 1024" in listed.output, listed.output
    print(listed.output)
    assert lab.play("playbooks/set_quota.yml", project="pets").ok
    assert create(lab, "cat-3").ok


def test_lists_are_searched_and_paged_and_history_is_shown(lab: Lab, cats: list[str]) -> None:
    page = lab.play("playbooks/list_vms.yml", tag="purrs", limit=1)
    assert page.ok and "cat-1" in page.output and "cat-2" not in page.output
    assert "There are more: -e after=cat-1" in page.output
    rest = lab.play("playbooks/list_vms.yml", search="at-", after="cat-1", image="debian-13")
    assert rest.ok and "cat-2" in rest.output and "There are more" not in rest.output
    history = lab.play("playbooks/vm_history.yml", name="cat-1")
    assert history.ok and "state: creating -> stopped" in history.output, history.output


def test_an_address_of_a_subnet_is_known_before_anything_boots(lab: Lab) -> None:
    subnet: dict[str, Any] = {"subnet": "pets", "cidr": "192.0.2.0/24", "network": "default", "first": "192.0.2.10"}
    try:
        for changed in (True, False):
            made = lab.play("playbooks/set_subnet.yml", **subnet)
            assert made.ok and made.unchanged is not changed, made.output
        asked: dict[str, Any] = {"name": "fish-1", "ip": "auto", "subnet": "pets"}
        assert lab.play("playbooks/create_vm.yml", **STOPPED, **asked).ok
        again = lab.play("playbooks/create_vm.yml", **STOPPED, **asked)
        assert again.ok and again.unchanged, again.output
        assert "192.0.2.10" in lab.play("playbooks/list_vms.yml", search="fish").output
        listed = lab.play("playbooks/list_subnets.yml")
        assert listed.ok and "network default" in listed.output, listed.output
        print(listed.output)
        refused = lab.play("playbooks/remove_subnet.yml", subnet="pets")
        assert not refused.ok and "1 addresses of VMs" in refused.output
    finally:
        lab.play("playbooks/delete_vm.yml", name="fish-1", purge=True)
        assert lab.play("playbooks/remove_subnet.yml", subnet="pets").ok
