# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node a VM is put on: strategies, groups, labels, overcommit and states; and what a project may have."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict, Invalid, VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request


def make(registry: Registry, name: str, **asked: Any) -> str:
    """The node that a VM was put on."""
    claim = registry.claim_new(parse_request({"name": name, "ram": 256, **asked}), "ann@desk", 60)
    registry.record(Record(name, claim.lease or "", "stopped"), "ann@desk")
    return claim.node["name"]


def delete(registry: Registry, name: str) -> None:
    registry.forget(name, registry.claim_existing(name, "delete", "ann@desk", 60).lease or "", "ann@desk")


def refused(registry: Registry, name: str, **asked: Any) -> VirtfleetError:
    with pytest.raises(VirtfleetError) as caught:
        make(registry, name, **asked)
    return caught.value


@pytest.mark.parametrize(
    ("strategy", "nodes"),
    [
        ("least_loaded", ["n1", "n2", "n1", "n2"]),
        ("packed", ["n1", "n1", "n1", "n1"]),
        ("round_robin", ["n1", "n2", "n1", "n2"]),
    ],
)
def test_strategies(registry: Registry, strategy: str, nodes: list[str]) -> None:
    assert [make(registry, f"vm-{number}", placement=strategy) for number in range(4)] == nodes


def test_round_robin_goes_on_where_it_was_whatever_is_free(registry: Registry) -> None:
    assert make(registry, "large", ram=2048, node="n2") == "n2"
    assert [make(registry, f"vm-{number}", placement="round_robin") for number in range(3)] == ["n1", "n2", "n1"]


def test_a_hard_group_is_never_on_one_node(registry: Registry) -> None:
    assert {make(registry, f"db-{number}", anti_affinity="db", ram=64) for number in range(2)} == {"n1", "n2"}
    error = refused(registry, "db-2", anti_affinity="db")
    assert (error.code, error.problems) == ("no_capacity", ("n1: has a VM of group db", "n2: has a VM of group db"))
    assert make(registry, "other", anti_affinity="web")
    delete(registry, "db-0")
    assert make(registry, "db-2", anti_affinity="db") == "n1"


def test_a_soft_group_is_on_one_node_only_where_that_must_be(registry: Registry) -> None:
    soft = {"group": "db", "hard": False}
    first = make(registry, "db-0", anti_affinity=soft)
    # The other node has less room, and is taken all the same.
    make(registry, "large", ram=2048, node="n2" if first == "n1" else "n1")
    assert make(registry, "db-1", anti_affinity=soft) != first
    assert make(registry, "db-2", anti_affinity=soft) == first


def test_a_group_holds_for_moves_and_for_what_comes_back(registry: Registry) -> None:
    make(registry, "db-0", anti_affinity="db", node="n1")
    make(registry, "db-1", anti_affinity="db", node="n2")
    with pytest.raises(VirtfleetError, match="has a VM of group db"):
        registry.claim_move("db-0", "n2", "ann@desk", 60)
    assert not registry.claim_move("db-0", None, "ann@desk", 60).needed
    delete(registry, "db-0")
    make(registry, "db-2", anti_affinity="db", node="n1")
    with pytest.raises(VirtfleetError, match="has a VM of group db"):
        registry.claim_deleted("db-0", "ann@desk", 60)


def test_labels_of_nodes(registry: Registry) -> None:
    registry.put_node("n2", {"labels": {"disk": "ssd", "rack": "r2"}})
    assert make(registry, "a", node_labels={"disk": "ssd"}) == "n2"
    error = refused(registry, "b", node_labels={"disk": "ssd", "rack": "r1"})
    assert error.problems == ("n1: has not the labels disk=ssd, rack=r1", "n2: has not the labels rack=r1")


def test_what_was_asked_for_is_compared_where_it_is_given_again(registry: Registry) -> None:
    make(registry, "a", anti_affinity="db")
    assert not registry.claim_new(parse_request({"name": "a", "anti_affinity": "db"}), "ann@desk", 60).needed
    assert not registry.claim_new(parse_request({"name": "a"}), "ann@desk", 60).needed
    for other in (
        {"anti_affinity": "web"},
        {"anti_affinity": {"group": "db", "hard": False}},
        {"node_labels": {"a": "b"}},
    ):
        with pytest.raises(Conflict):
            registry.claim_new(parse_request({"name": "a", **other}), "ann@desk", 60)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"placement": "best"}, "placement 'best' is none of least_loaded, round_robin, packed"),
        ({"anti_affinity": "A b"}, "anti_affinity: group 'A b' is not a DNS label"),
        ({"anti_affinity": {"hard": True}}, "anti_affinity: group None is not a DNS label"),
        ({"anti_affinity": {"group": "a", "soft": True}}, "anti_affinity: there is no soft"),
        (
            {"anti_affinity": {"group": "a", "hard": "perhaps"}},
            "anti_affinity: hard 'perhaps' is neither",
        ),
        ({"node_labels": "ssd"}, "node_labels is not a mapping of labels to their values"),
        ({"node_labels": {"disk": "a b"}}, "node_labels has 'a b', which is not"),
    ],
)
def test_what_cannot_be_asked_for(registry: Registry, asked: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        make(registry, "a", **asked)
    assert problem in str(caught.value)


def test_capacity_is_given_out_as_often_as_a_node_says(registry: Registry) -> None:
    registry.put_node("n1", {"state": "cordoned"})
    registry.put_node("n2", {"memory_overcommit": 1.5, "cpu_overcommit": 0.5})
    assert make(registry, "a", ram=6144, cpu=4) == "n2"
    assert refused(registry, "b", ram=64).problems == ("n1: cordoned", "n2: 0 MiB of memory free, 64 needed")
    assert refused(registry, "b", ram=64, node="n1").problems[0] == "n1: cordoned"


def test_nodes_with_what_is_used_of_them(registry: Registry) -> None:
    make(registry, "a", node="n1", cpu=2)
    for _time in range(2):
        assert not registry.refresh(Seen(foreign={"n1": []}), "timer").changed
    nodes = {node["name"]: node for node in registry.nodes()}
    assert [nodes["n1"][key] for key in ("vms", "used_vcpus", "used_memory_mib")] == [1, 2, 256]
    assert nodes["n1"]["seen_at"] is not None and nodes["n2"]["seen_at"] is None
    assert registry.put_node("n1", {"state": "cordoned"}).after["state"] == "cordoned"
    assert not registry.put_node("n1", {"state": "cordoned"}).changed
    # What site.yml registers again leaves the state alone.
    registry.put_node("n1", {"address": "10.0.0.9", "vcpus": 8, "memory_mib": 4096})
    assert {node["name"]: node["state"] for node in registry.nodes()} == {"n1": "cordoned", "n2": "active"}
    with pytest.raises(Invalid, match="n9 is not there, and a new one needs address, vcpus, memory_mib"):
        registry.put_node("n9", {"state": "cordoned"})


def test_a_project_has_what_its_quota_says_and_no_more(registry: Registry) -> None:
    quota = {"vms": 2, "vcpus": 4, "memory_mib": 1024, "disk_gib": 30}
    assert registry.put_quota("shop", quota).changed and not registry.put_quota("shop", quota).changed
    make(registry, "a", project="shop", cpu=2, disks=[{"name": "data", "size": 5}])
    error = refused(registry, "b", project="shop", cpu=3, ram=1024, disk=20)
    assert (error.code, error.problems) == (
        "quota",
        (
            "2 of 4 virtual CPUs free, 3 needed",
            "768 of 1024 MiB of memory free, 1024 needed",
            "15 of 30 GiB of disks free, 20 needed",
        ),
    )
    make(registry, "b", project="shop")
    assert refused(registry, "c", project="shop", disk=3).problems[0] == "0 of 2 VMs free, 1 needed"
    make(registry, "c", project="other", ram=2048)
    with pytest.raises(VirtfleetError, match="no quota left"):
        registry.claim_change("a", {"ram": 2048}, "ann@desk", 60)
    (shop,) = [project for project in registry.projects() if project["name"] == "shop"]
    assert shop == {
        "name": "shop", "quota": quota, "used": {"vms": 2, "vcpus": 3, "memory_mib": 512, "disk_gib": 25},
    }  # fmt: skip


def test_a_quota_that_is_less_than_what_is_there_lets_shrink_and_comes_back_to_nothing(registry: Registry) -> None:
    make(registry, "a", project="shop", ram=1024)
    registry.put_quota("shop", {"memory_mib": 256, "vms": 0})
    claim = registry.claim_change("a", {"ram": 512}, "ann@desk", 60)
    registry.record(Record("a", claim.lease or ""), "ann@desk")
    delete(registry, "a")
    with pytest.raises(VirtfleetError, match="no quota left"):
        registry.claim_deleted("a", "ann@desk", 60)
    assert registry.put_quota("shop", {}).changed
    assert registry.claim_deleted("a", "ann@desk", 60).needed
