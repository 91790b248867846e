# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of VMs that the registry does not have, and which of them are left to a person."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.rebuild_plan import Known, Lost, lost
from ansible_collections.virtfleet.cloud.plugins.module_utils.reconcile_plan import compare
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen

MAC = "52:54:00:00:00:01"
DETAILS: dict[str, Any] = {
    "project": "shop", "image": "debian-13", "memory_mib": 128, "memory_max_mib": 256, "vcpus": 1, "vcpus_max": 2,
    "networks": [{"mac": MAC, "bridge": "br0"}], "disk_gib": 5, "parent": "debian-13@golden",
    "disks": [{"name": "data", "size_gib": 3, "serial": "data"}], "owner": "n1", "moving_to": None, "record": None,
}  # fmt: skip
NETWORKS = [{"mac": MAC, "bridge": "br0", "subnet": "lan", "address": "10.0.0.5/24"}]
RECORD: dict[str, Any] = {
    "version": 1,
    "created_at": "2026-11-24T08:00:00.000Z",
    "request": {
        "ram": 64, "tags": ["web"], "protected": True, "networks": NETWORKS, "guest_user": "ann",
        "disks": [
            {"name": "data", "size_gib": 1, "filesystem": "ext4", "mount": "/data"}, {"name": "gone", "size_gib": 1},
        ],
        "anti_affinity": {"group": "db", "hard": False},
    },
    "spec": {"user_data_sha256": "abc", "source": {"name": "web-1", "id": "9", "snapshot": None}, "copied": True},
}  # fmt: skip
DOMAIN = Domain("n1", "a", "1", "running", "192.0.2.1", DETAILS)
ROW: dict[str, Any] = {"id": "2", "name": "b", "mac": "52:54:00:00:00:02", "spec": {}}
KNOWN = Known([ROW], nodes=["n1", "n2"])


def domain(node: str = "n1", **details: Any) -> Domain:
    return replace(DOMAIN, node=node, details=DETAILS | details)


def only(*domains: Domain, known: Known = KNOWN, **seen: Any) -> Lost:
    (one,) = lost(known, Seen(domains, **seen))
    return one


def test_without_a_record_it_is_what_its_domain_and_its_volumes_show() -> None:
    one = only(DOMAIN)
    spec = one.wanted
    assert spec is not None and (one.name, one.id, one.node, one.state, one.ip) == (
        "a",
        "1",
        "n1",
        "running",
        "192.0.2.1",
    )
    assert (spec.project, spec.image, spec.disk_gib, spec.tags) == ("shop", "debian-13", 5, ())
    assert (spec.memory_mib, spec.memory_max_mib, spec.vcpus, spec.vcpus_max) == (128, 256, 1, 2)
    assert [nic.as_dict() for nic in spec.networks] == DETAILS["networks"]
    assert [disk.as_dict() for disk in spec.disks] == DETAILS["disks"]
    assert one.created_at is None and one.kept == {} and "nobody kept" in one.detail


def test_with_its_record_it_has_what_they_do_not_show() -> None:
    one = only(domain(record=RECORD, parent="web-1.root@two"))
    spec = one.wanted
    assert spec is not None and (spec.tags, spec.protected, spec.guest_user) == (("web",), True, "ann")
    # What is there counts: it was given memory by hand, and a disk is not attached any more.
    assert spec.memory_mib == 128 and [(disk.name, disk.size_gib, disk.mount) for disk in spec.disks] == [
        ("data", 3, "/data")
    ]
    assert [nic.as_dict() for nic in spec.networks] == NETWORKS and spec.placement.group == "db"
    assert one.created_at == RECORD["created_at"] and "nobody kept" not in one.detail
    assert one.kept == RECORD["spec"] | {"source": {"name": "web-1", "id": "9", "snapshot": "two"}}


def test_interfaces_that_were_changed_by_hand_are_as_they_are() -> None:
    networks = [{"mac": "52:54:00:00:00:09"}]
    spec = only(domain(record=RECORD, networks=networks)).wanted
    assert spec is not None and [nic.as_dict() for nic in spec.networks] == networks


def test_a_record_of_another_version_is_not_read() -> None:
    spec = only(domain(record=RECORD | {"version": 2})).wanted
    assert spec is not None and spec.tags == ()


def test_one_that_moves_goes_on_moving() -> None:
    there = [domain("n1", moving_to="n2"), domain("n2", moving_to="n2")]
    for seen in (there, there[:1], there[1:]):
        one = only(*seen)
        assert one.wanted and (one.node, one.state, one.kept) == ("n1", "migrating", {"moving_to": "n2"})


def test_of_two_domains_that_of_its_owner_counts() -> None:
    one = only(replace(domain("n2"), state="stopped"), DOMAIN)
    assert one.wanted is not None and (one.node, one.state) == ("n1", "running")


@pytest.mark.parametrize(
    ("domains", "known", "silent", "why"),
    [
        ([DOMAIN], replace(KNOWN, deleted={"1"}), [], "it was deleted"),
        ([DOMAIN], replace(KNOWN, nodes=["n2"]), [], "node n1 is not registered"),
        ([DOMAIN], Known([ROW | {"name": "a"}], nodes=["n1"]), [], "its name is that of VM 2"),
        ([DOMAIN], Known([ROW | {"mac": MAC}], nodes=["n1"]), [], f"its MAC {MAC} is that of VM b"),
        ([DOMAIN], Known([ROW | {"spec": {"networks": [{"mac": MAC}]}}], nodes=["n1"]), [], f"its MAC {MAC} is that"),
        ([domain(disk_gib=None)], KNOWN, [], "its volume a.root is not there"),
        ([domain(owner="n2")], KNOWN, [], "it belongs to n2, and its domain is on n1"),
        ([domain(owner=None), domain("n2", owner=None)], KNOWN, [], "it is on n1, n2, and belongs to none of them"),
        ([domain(owner=None)], KNOWN, ["n2"], "it may be on n2 too"),
        ([domain(image="no image!")], KNOWN, [], "it cannot be read: image"),
    ],
)
def test_what_is_left_to_a_person(domains: list[Domain], known: Known, silent: list[str], why: str) -> None:
    one = only(*domains, known=known, silent=silent)
    assert one.wanted is None and why in one.detail


def test_what_its_owner_tells_needs_no_other_node() -> None:
    assert only(DOMAIN, silent=["n2"]).wanted is not None


def test_of_two_with_one_name_the_first_is_recorded() -> None:
    twin = replace(domain("n2", owner="n2", networks=[{"mac": "52:54:00:00:00:03"}]), id="3")
    first, second = lost(KNOWN, Seen([twin, DOMAIN]))
    assert (first.id, second.id) == ("1", "3") and first.wanted and second.detail == "its name is that of VM 1"


def test_reconcile_records_it_and_leaves_the_cache_that_is_right() -> None:
    found = compare(Known(nodes=["n1"]), Seen([DOMAIN], cache={"a": "n1"}))
    assert [(finding.kind, finding.action) for finding in found] == [("unknown_domain", "record it")]
    assert found[0].lost == only(DOMAIN, known=Known(nodes=["n1"]))
    # Nobody asked for details.
    plain = compare(Known(nodes=["n1"]), Seen([replace(DOMAIN, details=None)]))
    assert [(finding.kind, finding.action) for finding in plain] == [("unknown_domain", "")]
