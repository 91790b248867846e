# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The registry's promises, against a real PostgreSQL and a real Redis."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
import redis
from ansible_collections.virtfleet.cloud.plugins.module_utils import registry_connection
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import VmSpec, parse_request, read_request

Sql = Callable[..., list[tuple[Any, ...]]]


def _spec(name: str = "test-1", **given: Any) -> VmSpec:
    return parse_request({"name": name, **given})


def _made(registry: Registry, name: str = "test-1", **given: Any) -> Claim:
    claim = registry.claim_new(_spec(name, **given), "ann@desk", 60)
    registry.record(Record(name, claim.lease or "", "running"), "ann@desk")
    return claim


def _claim_in_threads(settings: Settings, specs: list[VmSpec]) -> list[str]:
    """What became of each: "won", or the error's code. All start at once, each on a connection of its own."""
    ready = threading.Barrier(len(specs), timeout=30)

    def one(spec: VmSpec) -> str:
        with Registry(settings, lambda _text: None) as registry:
            ready.wait()
            try:
                registry.claim_new(spec, "thread", 60)
            except VirtfleetError as error:
                return error.code
            return "won"

    with ThreadPoolExecutor(len(specs)) as pool:
        return list(pool.map(one, specs))


def test_twenty_creates_of_one_name_one_wins(settings: Settings, sql: Sql) -> None:
    outcome = _claim_in_threads(settings, [_spec()] * 20)
    assert sorted(outcome) == ["busy"] * 19 + ["won"]
    assert sql("SELECT count(*) FROM vm") == [(1,)]


def test_the_last_places_are_given_once(settings: Settings, sql: Sql) -> None:
    outcome = _claim_in_threads(settings, [_spec(f"vm-{number}", ram=1024) for number in range(20)])
    assert outcome.count("won") == 8
    assert outcome.count("no_capacity") == 12
    assert sql("SELECT node, sum(memory_mib) FROM vm GROUP BY node ORDER BY node") == [("n1", 4096), ("n2", 4096)]
    assert sql("SELECT count(DISTINCT mac) FROM vm") == [(8,)]


def test_vcpus_are_not_overcommitted_past_the_limit(settings: Settings, sql: Sql) -> None:
    outcome = _claim_in_threads(settings, [_spec(f"vm-{number}", ram=64, cpu=32) for number in range(12)])
    assert outcome.count("won") == 4
    assert sql("SELECT max(total) FROM (SELECT sum(vcpus) AS total FROM vm GROUP BY node) AS nodes") == [(64,)]


def test_no_capacity_says_why_for_each_node(registry: Registry, sql: Sql) -> None:
    sql("UPDATE node SET state = 'cordoned' WHERE name = 'n1'")
    with pytest.raises(VirtfleetError) as caught:
        registry.claim_new(_spec(ram=8192), "ann@desk", 60)
    assert caught.value.code == "no_capacity"
    assert caught.value.problems == ("n1: cordoned", "n2: 4096 MiB of memory free, 8192 needed")


def test_a_leased_vm_is_busy_and_says_who(registry: Registry) -> None:
    registry.claim_new(_spec(), "ann@desk", 60)
    for claim in (
        lambda: registry.claim_new(_spec(), "bob@desk", 60),
        lambda: registry.claim_existing("test-1", "delete", "bob@desk", 60),
    ):
        with pytest.raises(VirtfleetError, match="ann@desk") as caught:
            claim()
        assert caught.value.code == "busy"


def test_a_create_whose_lease_ran_out_is_resumed(registry: Registry, sql: Sql) -> None:
    first = registry.claim_new(_spec(), "ann@desk", 60)
    sql("UPDATE vm SET lease_until = now() - interval '1 second'")
    second = registry.claim_new(_spec(), "bob@desk", 60)
    assert (second.needed, second.resume) == (True, True)
    assert second.lease != first.lease
    assert [second.vm[key] for key in ("id", "node", "mac")] == [first.vm[key] for key in ("id", "node", "mac")]
    with pytest.raises(VirtfleetError) as caught:
        registry.record(Record("test-1", first.lease or "", "running"), "ann@desk")
    assert caught.value.code == "busy"


def test_a_failed_create_is_resumed(registry: Registry) -> None:
    first = registry.claim_new(_spec(), "ann@desk", 60)
    error = {"code": "backend", "message": "no"}
    registry.record(Record("test-1", first.lease or "", "error", "clone", error), "ann@desk")
    assert registry.vms({"name": "test-1"})[0]["error"] == error
    assert registry.claim_new(_spec(), "ann@desk", 60).resume


def test_the_same_claim_again_writes_nothing(registry: Registry, sql: Sql) -> None:
    _made(registry, ram=2048, tags=["web"])
    before = sql("SELECT xmin::text, updated_at FROM vm"), sql("SELECT count(*) FROM event")
    for given in ({}, {"ram": "2GiB"}, {"ram": 2048, "tags": ["web"], "cpu": 1}):
        claim = registry.claim_new(_spec(**given), "bob@desk", 60)
        assert (claim.needed, claim.lease) == (False, None)
    assert (sql("SELECT xmin::text, updated_at FROM vm"), sql("SELECT count(*) FROM event")) == before


def test_a_different_request_names_every_difference(registry: Registry) -> None:
    _made(registry)
    with pytest.raises(VirtfleetError) as caught:
        registry.claim_new(_spec(ram=2048, disk=20, user_data={"password": "hunter2"}), "bob@desk", 60)
    assert caught.value.code == "conflict"
    assert [problem.split()[0] for problem in caught.value.problems] == ["ram", "disk", "user_data"]
    assert "hunter2" not in str(caught.value)


def test_unknown_node_and_image_are_reported_together(registry: Registry) -> None:
    with pytest.raises(VirtfleetError) as caught:
        registry.claim_new(_spec(node="n9", image="plan9"), "ann@desk", 60)
    assert caught.value.code == "invalid"
    assert len(caught.value.problems) == 2


def test_a_disk_smaller_than_its_image_is_refused(registry: Registry) -> None:
    with pytest.raises(VirtfleetError, match="smaller than image"):
        registry.claim_new(_spec(disk=2), "ann@desk", 60)


def test_record_tells_the_cache_and_forget_takes_it_back(registry: Registry, cache: redis.Redis, sql: Sql) -> None:
    claim = _made(registry, node="n2")
    assert json.loads(str(cache.get("vm:test-1")))["address"] == "10.0.0.2"
    assert registry.location("test-1") == ({"name": "n2", "address": "10.0.0.2"}, "redis")
    cache.delete("vm:test-1")
    assert registry.location("test-1")[1] == "postgresql"
    assert registry.location("test-1")[1] == "redis"
    gone = registry.claim_existing("test-1", "delete", "ann@desk", 60)
    assert gone.vm["state"] == "deleting"
    registry.forget("test-1", gone.lease or "", "ann@desk")
    assert cache.get("vm:test-1") is None
    assert registry.vms({}) == []
    assert sql("SELECT action FROM event ORDER BY id") == [("create",), ("running",), ("delete",)]
    assert _made(registry).vm["id"] != claim.vm["id"]


def test_a_protected_vm_refuses_delete(registry: Registry, sql: Sql) -> None:
    _made(registry)
    sql("UPDATE vm SET protected = true")
    with pytest.raises(VirtfleetError) as caught:
        registry.claim_existing("test-1", "delete", "ann@desk", 60)
    assert caught.value.code == "needs_consent"
    assert sql("SELECT state, lease_by FROM vm") == [("running", None)]


def test_refresh_leaves_leased_rows_alone(registry: Registry, sql: Sql) -> None:
    free, leased = _made(registry, "free"), _made(registry, "leased")
    registry.claim_existing("leased", "stop", "ann@desk", 60)
    seen = Seen(
        [
            Domain(claim.node["name"], claim.vm["name"], claim.vm["id"], "running", "192.168.131.9")
            for claim in (free, leased)
        ]
    )
    assert registry.refresh(seen, "timer").after == {"free": {"state": "running", "ip": "192.168.131.9"}}
    before = sql("SELECT xmin::text FROM vm ORDER BY name")
    assert not registry.refresh(seen, "timer").changed
    assert sql("SELECT xmin::text FROM vm ORDER BY name") == before


def test_check_mode_decides_the_same_and_writes_nothing(settings: Settings, cache: redis.Redis, sql: Sql) -> None:
    with Registry(settings, pytest.fail, check=True) as registry:
        assert registry.claim_new(_spec(), "ann@desk", 60).needed
        assert registry.put_node("n3", {"address": "10.0.0.3", "vcpus": 8, "memory_mib": 4096}).changed
        assert registry.put_image("debian-12", 3).changed
    assert sql("SELECT (SELECT count(*) FROM vm), (SELECT count(*) FROM node), (SELECT count(*) FROM image)") == [
        (0, 2, 1)
    ]
    assert cache.keys("vm:*") == []


def test_node_and_image_change_once(registry: Registry) -> None:
    assert [
        registry.put_node("n1", {"address": "10.0.0.1", "vcpus": 16, "memory_mib": 4096}).changed for _n in range(2)
    ] == [True, False]
    assert [registry.put_image("debian-13", 4).changed for _n in range(2)] == [True, False]


def test_redis_down_is_only_a_warning(settings: Settings) -> None:
    warnings: list[str] = []
    without = dataclasses.replace(settings, cache=dataclasses.replace(settings.cache, port=1))
    with Registry(without, warnings.append) as registry:
        _made(registry)
        assert registry.location("test-1")[1] == "postgresql"
    assert warnings
    assert not any(settings.cache.password in text for text in warnings)


@pytest.mark.parametrize("wrong", [{"port": 1}, {"password": "other-secret-8"}, {"host": "localhost"}])
def test_postgresql_that_lets_nobody_in_is_unreachable(settings: Settings, wrong: dict[str, Any]) -> None:
    broken = dataclasses.replace(settings, **wrong)
    with pytest.raises(VirtfleetError) as caught:
        Registry(broken, lambda _text: None)
    assert caught.value.code == "unreachable"
    assert f"{broken.host}:{broken.port}" in str(caught.value)
    assert broken.password not in str(caught.value)


@pytest.mark.parametrize("statement", ["UPDATE event SET actor = 'x'", "DELETE FROM event", "DELETE FROM vm"])
def test_the_writer_cannot_rewrite_history(settings: Settings, statement: str) -> None:
    connection = psycopg2.connect(
        host=settings.host, port=settings.port, dbname="virtfleet", user=settings.user, password=settings.password,
        sslmode="verify-full", sslrootcert=settings.ca_file, options="-c search_path=virtfleet",
    )  # fmt: skip
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(statement)
    connection.close()


def test_a_half_made_vm_is_not_finished_with_another_seed(registry: Registry, sql: Sql) -> None:
    given: dict[str, Any] = {"user_data": {"password": "hunter2"}, "ssh_authorized_keys": ["ssh-ed25519 AAAA ann"]}
    registry.claim_new(_spec(**given), "ann@desk", 60)
    sql("UPDATE vm SET lease_until = now() - interval '1 second'")
    with pytest.raises(VirtfleetError, match="half-made") as caught:
        registry.claim_new(_spec(), "bob@desk", 60)
    assert [problem.split()[0] for problem in caught.value.problems] == ["user_data", "ssh_authorized_keys"]
    assert registry.claim_new(_spec(**given), "bob@desk", 60).resume


def test_other_keys_for_a_vm_that_is_there_are_a_difference(registry: Registry) -> None:
    _made(registry)
    with pytest.raises(VirtfleetError, match="ssh_authorized_keys differs"):
        registry.claim_new(_spec(ssh_authorized_keys=["ssh-ed25519 AAAA bob"]), "bob@desk", 60)


def test_what_is_wrong_by_itself_and_what_is_unknown_come_together(registry: Registry, sql: Sql) -> None:
    spec, problems = read_request({"name": "Bad_Name", "image": "plan9", "node": "n9"})
    with pytest.raises(VirtfleetError) as caught:
        registry.claim_new(spec, "ann@desk", 60, problems)
    assert [problem.split()[0] for problem in caught.value.problems] == ["name", "node", "image"]
    assert sql("SELECT count(*) FROM vm") == [(0,)]


def test_check_and_run_show_the_same_diff(settings: Settings) -> None:
    with Registry(settings, pytest.fail, check=True) as checked:
        foreseen = checked.claim_new(_spec(), "ann@desk", 60).change
    with Registry(settings, pytest.fail) as registry:
        claim = registry.claim_new(_spec(), "ann@desk", 60)
        assert claim.change == foreseen
        assert (claim.change.before, claim.change.after["state"]) == ({}, "creating")
        _vm, change = registry.record(Record("test-1", claim.lease or "", "running"), "ann@desk")
        assert (change.before["state"], change.after["state"]) == ("creating", "running")


def test_a_registry_that_is_locked_is_a_timeout(
    settings: Settings, admin: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_connection, "_STATEMENT_MILLISECONDS", 300)
    holder = psycopg2.connect(**admin, options="-c search_path=virtfleet")
    with holder.cursor() as cursor, Registry(settings, pytest.fail) as registry:
        cursor.execute("LOCK TABLE vm IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(VirtfleetError) as caught:
            registry.claim_new(_spec(), "ann@desk", 60)
    holder.close()
    assert caught.value.code == "timeout"
    assert "PostgreSQL at 127.0.0.1" in str(caught.value)


def test_a_delete_that_was_cut_off_can_only_be_finished(registry: Registry, sql: Sql) -> None:
    claim = _made(registry)
    registry.claim_existing("test-1", "delete", "ann@desk", 60)
    sql("UPDATE vm SET lease_until = now() - interval '1 second'")
    for another in (
        lambda: registry.claim_new(_spec(), "bob@desk", 60),
        lambda: registry.claim_existing("test-1", "start", "bob@desk", 60),
    ):
        with pytest.raises(VirtfleetError, match="half-deleted") as caught:
            another()
        assert caught.value.code == "conflict"
    still = Seen([Domain(claim.node["name"], "test-1", claim.vm["id"], "running", None)])
    assert not registry.refresh(still, "timer").changed
    gone = registry.claim_existing("test-1", "delete", "bob@desk", 60)
    registry.forget("test-1", gone.lease or "", "bob@desk")
    assert registry.vms({}) == []


DATA = {"name": "data", "size_gib": 3, "serial": "data"}


def _change(registry: Registry, **changes: Any) -> Claim:
    claim = registry.claim_change("test-1", changes, "ann@desk", 60)
    registry.record(Record("test-1", claim.lease or "", "running"), "ann@desk")
    return claim


def test_a_change_is_written_with_its_event_and_the_same_again_is_none(registry: Registry, sql: Sql) -> None:
    _made(registry, ram=512)
    claim = _change(registry, ram="1GiB", cpu=2, disk=20, attach={"name": "data", "size": 3}, protected=True)
    assert claim.change.changed
    changed = {"memory_mib": 1024, "memory_max_mib": 1024, "vcpus": 2, "disk_gib": 20, "disks": [DATA]}
    assert {key: claim.vm[key] for key in changed} == changed and claim.vm["protected"]
    ((detail,),) = sql("SELECT detail FROM event WHERE action = 'change'")
    assert detail["memory_mib"] == [512, 1024] and detail["disks"] == [[], [DATA]]
    assert not _change(registry, ram="1GiB", cpu=2, disk=20, attach={"name": "data", "size": 3}).change.changed
    assert sql("SELECT count(*) FROM event WHERE action = 'change'") == [(1,)]


def test_data_disks_are_added_grown_and_left_out(registry: Registry) -> None:
    _made(registry, disks=[{"name": "data", "size": 3}])
    grown = _change(registry, attach={"name": "data", "size": "4GiB"}).vm["disks"]
    assert grown == [{**DATA, "size_gib": 4}]
    assert _change(registry, attach={"name": "data"}).vm["disks"] == grown
    assert [disk["name"] for disk in _change(registry, attach={"name": "b", "size": 1}).vm["disks"]] == ["data", "b"]
    assert [disk["name"] for disk in _change(registry, detach="data").vm["disks"]] == ["b"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"disk": 5}, "invalid", "disk root has 10 GiB and is never shrunk, not to 5 GiB"),
        ({"attach": {"name": "data", "size": 1}}, "invalid", "disk data has 3 GiB and is never shrunk, not to 1 GiB"),
        ({"ram": "100GiB"}, "no_capacity", "MiB of memory for it, 102400 needed"),
        ({"cpu": 500}, "no_capacity", "virtual CPUs for it, 500 needed"),
        ({"ram": 0}, "invalid", "ram 0 is not a size"),
    ],
)
def test_a_change_that_is_refused_writes_nothing(
    registry: Registry, sql: Sql, changes: dict[str, Any], code: str, said: str
) -> None:
    _made(registry, disks=[{"name": "data", "size": 3}])
    before = sql("SELECT * FROM vm")
    with pytest.raises(VirtfleetError) as refused:
        registry.claim_change("test-1", changes, "ann@desk", 60)
    assert refused.value.code == code and said in str(refused.value)
    assert sql("SELECT * FROM vm") == before


def test_only_what_was_made_and_nobody_changes_can_be_changed(registry: Registry) -> None:
    registry.claim_new(_spec(), "ann@desk", 60)
    with pytest.raises(VirtfleetError) as busy:
        registry.claim_change("test-1", {"ram": 2048}, "bob@desk", 60)
    assert busy.value.code == "busy"
    registry.claim_new(_spec("half"), "ann@desk", -1)
    with pytest.raises(VirtfleetError) as half:
        registry.claim_change("half", {"ram": 2048}, "bob@desk", 60)
    assert half.value.code == "conflict" and "half-made" in str(half.value)


def _deleted(registry: Registry, name: str = "test-1", **given: Any) -> str:
    made = _made(registry, name, **given)
    claim = registry.claim_existing(name, "delete", "ann@desk", 60)
    registry.forget(name, claim.lease or "", "ann@desk")
    return str(made.vm["id"])


def test_the_one_that_was_deleted_last_comes_back(registry: Registry, sql: Sql) -> None:
    _deleted(registry, ram=512)
    latest = _deleted(registry, ram=768, disks=[{"name": "data", "size": 3}])
    claim = registry.claim_deleted("test-1", "ann@desk", 60)
    assert (claim.vm["id"], claim.vm["memory_mib"], claim.vm["disks"]) == (latest, 768, [DATA])
    registry.record(Record("test-1", claim.lease or "", "running"), "ann@desk")
    again = registry.claim_deleted("test-1", "ann@desk", 60)
    assert not again.needed and again.vm["state"] == "running"
    assert sql("SELECT count(*) FROM event WHERE action = 'undelete'") == [(1,)]


def test_an_undelete_that_failed_is_continued(registry: Registry) -> None:
    vm_id = _deleted(registry)
    claim = registry.claim_deleted("test-1", "ann@desk", 60)
    error = {"code": "unreachable", "message": "Ceph did not answer", "hint": "", "problems": []}
    registry.record(Record("test-1", claim.lease or "", None, "Restore", error), "ann@desk")
    again = registry.claim_deleted("test-1", "ann@desk", 60)
    assert again.needed and again.resume and again.vm["id"] == vm_id


def test_an_undelete_needs_a_deleted_vm_and_room(registry: Registry, sql: Sql) -> None:
    with pytest.raises(VirtfleetError) as none:
        registry.claim_deleted("test-1", "ann@desk", 60)
    assert none.value.code == "not_found"
    _deleted(registry)
    sql("UPDATE node SET state = 'cordoned' RETURNING name")
    with pytest.raises(VirtfleetError) as full:
        registry.claim_deleted("test-1", "ann@desk", 60)
    assert full.value.code == "no_capacity"


def test_many_are_claimed_and_recorded_at_once(registry: Registry, cache: redis.Redis, sql: Sql) -> None:
    specs = [_spec(f"vm-{number}", ram=512) for number in range(5)]
    requests: list[tuple[VmSpec, list[str]]] = [(spec, []) for spec in specs]
    requests.insert(2, (_spec("bad"), ["ram 0 is not a size"]))
    claims, refused = registry.claim_many(requests, "ann@desk", 60)
    assert [claim.vm["name"] for claim in claims] == [spec.name for spec in specs]
    assert {name: error.code for name, error in refused.items()} == {"bad": "invalid"}
    assert {claim.node["name"] for claim in claims} == {"n1", "n2"}
    records = [Record(claim.vm["name"], claim.lease or "", "stopped") for claim in claims]
    _vms, changes = registry.record_many(records, "ann@desk")
    assert all(change.changed for change in changes.values())
    assert len(cache.keys("vm:vm-*")) == 5
    again, _refused = registry.claim_many([(spec, []) for spec in specs], "ann@desk", 60)
    assert [claim.needed for claim in again] == [False] * 5
    assert sql("SELECT count(*) FROM vm WHERE made") == [(5,)]


def test_a_change_that_was_refused_is_undone(registry: Registry, sql: Sql) -> None:
    _made(registry, disks=[{"name": "data", "size": 1}])
    before = registry.vms({"name": "test-1"})
    request = {"ram": 2048, "disk": 20, "attach": {"name": "more", "size": 1}}
    claim = registry.claim_change("test-1", request, "ann@desk", 60)
    error = {"code": "no_capacity"}
    undo = claim.change.before
    registry.record(Record("test-1", claim.lease or "", step="Act", error=error, undo=undo), "ann@desk")
    changed = {"step": "Act", "error": error}
    assert registry.vms({"name": "test-1"}) == [before[0] | changed]
