# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""VMs that are made from backups, in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request
from ansible_collections.virtfleet.cloud.plugins.module_utils.subnet import read_subnet

Sql = Callable[[str], Any]
ERROR = {"code": "backend", "message": "it failed", "hint": "", "problems": []}


def _made(registry: Registry, name: str = "test-1", **given: Any) -> None:
    claim = registry.claim_new(parse_request({"name": name, **given}), "ann@desk", 60)
    registry.record(Record(name, claim.lease or "", "running"), "ann@desk")


def _source(registry: Registry, backup: str = "one", **given: Any) -> dict[str, Any]:
    """A backup of a VM that is there."""
    _made(registry, **given)
    claim = registry.claim_existing("test-1", "backup", "ann@desk", 60)
    registry.record(Record("test-1", claim.lease or "", "running"), "ann@desk")
    vm = {"name": "test-1", "id": claim.vm["id"], "mac": claim.vm["mac"], "request": claim.request}
    return {"backup": f"test-1/{backup}", "vm": vm}


def _delete(registry: Registry, name: str = "test-1") -> None:
    claim = registry.claim_existing(name, "delete", "ann@desk", 60)
    registry.forget(name, claim.lease or "", "ann@desk")


def _restore(registry: Registry, source: dict[str, Any], name: str = "test-1", node: str | None = None) -> Claim:
    return registry.claim_restored(name, source, node, "ann@desk", 60)


def _refused(registry: Registry, source: dict[str, Any], **where: Any) -> VirtfleetError:
    with pytest.raises(VirtfleetError) as refused:
        _restore(registry, source, **where)
    return refused.value


def test_under_its_name_it_is_what_it_was(registry: Registry, sql: Sql) -> None:
    source = _source(registry, ram=512, disks=[{"name": "data", "size": 3}])
    claim = registry.claim_change("test-1", {"ram": 768, "attach": {"name": "more", "size": 2}}, "ann@desk", 60)
    registry.record(Record("test-1", claim.lease or "", "running"), "ann@desk")
    _delete(registry)
    claim = _restore(registry, source)
    assert (claim.vm["id"], claim.vm["mac"]) == (source["vm"]["id"], source["vm"]["mac"])
    assert claim.vm["memory_mib"] == 512 and [disk["name"] for disk in claim.vm["disks"]] == ["data"]
    assert not claim.resume and claim.vm["state"] == "stopped"
    vm, _change = registry.record(Record("test-1", claim.lease or "", "running", event="restore"), "ann@desk")
    assert vm["state"] == "running" and sql("SELECT spec ? 'restoring' FROM vm") == [(False,)]
    assert sql("SELECT count(*) FROM event WHERE action = 'restore'") == [(1,)]


def test_what_nothing_came_of_is_deleted_as_it_was_before(registry: Registry, sql: Sql) -> None:
    source = _source(registry, ram=512)
    claim = registry.claim_change("test-1", {"ram": 768, "attach": {"name": "more", "size": 2}}, "ann@desk", 60)
    registry.record(Record("test-1", claim.lease or "", "running"), "ann@desk")
    _delete(registry)
    columns = "SELECT state, node, memory_mib, disk_gib, mac::text, tags, protected, spec FROM vm"
    before = sql(columns)
    claim = _restore(registry, source)
    registry.forget("test-1", claim.lease or "", "ann@desk")
    assert sql(columns) == before
    assert [disk["name"] for disk in registry.claim_deleted("test-1", "ann@desk", 60).vm["disks"]] == ["more"]


def test_a_registry_that_does_not_know_it_takes_it_with_its_id(registry: Registry, sql: Sql) -> None:
    source = _source(registry)
    nic = {"mac": "52:54:00:aa:bb:cc", "bridge": "br0", "address": "192.0.2.5/24"}
    request = {**source["vm"]["request"], "networks": [nic]}
    request["seed_generation"] = 3
    other = {"name": "test-1", "id": "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11", "mac": nic["mac"], "request": request}
    _delete(registry)
    claim = _restore(registry, {**source, "vm": other})
    assert (claim.vm["id"], claim.vm["mac"]) == (other["id"], other["mac"])
    assert (claim.vm["networks"], claim.vm["ip"], claim.vm["copied"]) == ([nic], "192.0.2.5", False)
    # What its guest took itself for when it was backed up.
    assert claim.vm["instance_id"] == f"{other['id']}.3"
    # No create takes it for a half-made one of its own.
    assert sql("SELECT made FROM vm WHERE state <> 'deleted'") == [(True,)]


def test_under_another_name_it_is_another(registry: Registry) -> None:
    source = _source(registry, ram=512, networks=[{"bridge": "br0", "vlan": 7, "address": "192.0.2.5/24"}])
    claim = _restore(registry, source, name="test-2")
    assert (claim.vm["memory_mib"], claim.vm["copied"]) == (512, True)
    # Connected to the same, with an address of its own.
    assert claim.vm["networks"] == [{"bridge": "br0", "vlan": 7, "mac": claim.vm["mac"]}]
    assert not {claim.vm["id"], claim.vm["mac"]} & {source["vm"]["id"], source["vm"]["mac"]}


def test_under_another_name_it_has_another_address_of_the_same_subnet(registry: Registry) -> None:
    registry.put_subnet(read_subnet({"name": "lan", "cidr": "192.0.2.0/24", "bridge": "br0"}))
    source = _source(registry, ip="auto", subnet="lan")
    claim = _restore(registry, source, name="test-2")
    assert [nic["address"] for nic in claim.vm["networks"]] == ["192.0.2.2/24"]


def test_one_that_was_cut_off_is_continued_with_the_same_backup_only(registry: Registry) -> None:
    source = _source(registry)
    _delete(registry)
    first = _restore(registry, source)
    assert _refused(registry, source).code == "busy"
    registry.record(Record("test-1", first.lease or "", None, "Make its volumes", ERROR), "ann@desk")
    refused = _refused(registry, {**source, "backup": "test-1/two"})
    assert refused.code == "conflict" and "half-restored from backup test-1/one" in str(refused)
    with pytest.raises(VirtfleetError, match="half-restored"):
        registry.claim_deleted("test-1", "ann@desk", 60)
    again = _restore(registry, source)
    assert again.resume and again.vm["id"] == first.vm["id"]


def test_what_is_in_the_way_is_named(registry: Registry, sql: Sql) -> None:
    source = _source(registry)
    assert "delete_vm.yml" in _refused(registry, source).hint
    assert "node n9 is none of" in str(_refused(registry, source, name="test-2", node="n9"))
    _delete(registry)
    sql("UPDATE node SET state = 'cordoned' RETURNING name")
    assert _refused(registry, source).code == "no_capacity"
    sql("UPDATE node SET state = 'active' RETURNING name")
    _made(registry, "thief", networks=[{"mac": source["vm"]["mac"]}])
    assert f"mac {source['vm']['mac']} is that of VM thief" in str(_refused(registry, source))


def test_a_check_reserves_nothing(settings: Settings, registry: Registry, sql: Sql) -> None:
    source = _source(registry)
    before = sql("SELECT * FROM vm ORDER BY id")
    with Registry(settings, pytest.fail, check=True) as checking:
        assert _restore(checking, source, name="test-3").vm["name"] == "test-3"
    assert sql("SELECT * FROM vm ORDER BY id") == before
