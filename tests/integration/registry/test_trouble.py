# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""PostgreSQL that is stopped in between, or lost at the end of a transaction: the registry goes on saying the truth."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import registry_connection
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import RegistryConnection, Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request
from proxy import Proxy
from servers import PASSWORD, PostgreSQL, set_up

ROOT = Path(__file__).resolve().parents[3]

Sql = Callable[..., list[tuple[Any, ...]]]


def claim(settings: Settings, name: str = "test-1") -> Claim:
    """As one task of a playbook: on a connection of its own."""
    with Registry(settings, pytest.fail) as registry:
        return registry.claim_new(parse_request({"name": name}), "ann@desk", 60)


def record(settings: Settings, claimed: Claim, state: str = "running") -> dict[str, Any]:
    with Registry(settings, pytest.fail) as registry:
        return registry.record(Record(claimed.vm["name"], claimed.lease or "", state), "ann@desk")[0]


def release(settings: Settings, claimed: Claim) -> dict[str, Any]:
    with Registry(settings, pytest.fail) as registry:
        return registry.forget(claimed.vm["name"], claimed.lease or "", "ann@desk")[0]


def delete(settings: Settings) -> Claim:
    with Registry(settings, pytest.fail) as registry:
        return registry.claim_existing("test-1", "delete", "ann@desk", 60)


def actions(sql: Sql) -> list[str]:
    return [action for (action,) in sql("SELECT action FROM event ORDER BY id")]


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    """A server of its own, which may be stopped."""
    folder = Path(tempfile.mkdtemp(prefix="virtfleet-trouble-"))
    shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o755)
    server = PostgreSQL(folder)
    server.start()
    set_up(server.superuser)
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_stopped_between_claim_and_record(server: PostgreSQL) -> None:
    admin = server.superuser | {"dbname": "virtfleet"}
    with psycopg2.connect(**admin, options="-c search_path=virtfleet") as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO node (name, address, vcpus, memory_mib) VALUES ('n1', '10.0.0.1', 8, 4096)")
        cursor.execute("INSERT INTO image (name, size_gib) VALUES ('debian-13', 3)")
    connection.close()
    settings = Settings("127.0.0.1", "virtfleet", PASSWORD, f"{admin['host']}/ca.crt", admin["port"])
    first = claim(settings)
    with Registry(settings, pytest.fail) as connected:
        server.stop()
        with pytest.raises(VirtfleetError, match="went away") as cut:
            connected.record(Record("test-1", first.lease or "", "running"), "ann@desk")
    with pytest.raises(VirtfleetError, match="does not let us in") as away:
        record(settings, first)
    assert {cut.value.code, away.value.code} == {"unreachable"}
    server.start()
    # Until its lease runs out nobody else touches it; whoever holds the lease may still record.
    with pytest.raises(VirtfleetError, match="being changed by ann@desk") as busy:
        claim(settings)
    assert busy.value.code == "busy"
    recorded = record(settings, first)
    assert (recorded["state"], recorded["id"]) == ("running", first.vm["id"])
    again = claim(settings)
    assert not again.needed and again.vm == recorded
    with Registry(settings, pytest.fail) as registry:
        assert [event["action"] for event in registry.history("test-1", 9)] == ["running", "create"]


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    with Proxy(settings.port) as opened:
        yield opened


@pytest.fixture
def through(settings: Settings, proxy: Proxy) -> Settings:
    """The registry through the proxy."""
    return dataclasses.replace(settings, port=proxy.port)


Cut = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def cut(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Cut:
    """Has the line cut at the next COMMIT, and nobody let in any more if it does not come back."""

    @contextmanager
    def cutting(lose: str, comes_back: bool = True) -> Iterator[None]:
        commit = RegistryConnection._commit

        def cut_off(registry: RegistryConnection, cursor: Any, number: str) -> None:
            proxy.lose, proxy.closed = lose, not comes_back
            commit(registry, cursor, number)

        with monkeypatch.context() as patched:
            patched.setattr(RegistryConnection, "_commit", cut_off)
            yield
        assert not proxy.lose
        proxy.closed = False

    return cutting


def test_an_answer_that_was_lost_is_asked_for(through: Settings, cut: Cut, sql: Sql) -> None:
    """The commit arrived, so claim, record and release succeed as if nothing had happened."""
    with cut("answer"):
        claimed = claim(through)
    assert sql("SELECT name, lease_by FROM vm") == [("test-1", claimed.lease)]
    with cut("answer"):
        assert record(through, claimed)["state"] == "running"
    with cut("answer"):
        leased = delete(through)
    with cut("answer"):
        assert release(through, leased)["state"] == "deleted"
    assert actions(sql) == ["create", "running", "delete"]


def test_a_commit_that_never_arrived_wrote_nothing_and_is_repeated(through: Settings, cut: Cut, sql: Sql) -> None:
    def lost_then_repeated(act: Callable[[], Any]) -> Any:
        before = sql("SELECT * FROM vm"), actions(sql)
        with cut("request"), pytest.raises(VirtfleetError, match="Nothing was written") as lost:
            act()
        assert lost.value.code == "unreachable"
        assert (sql("SELECT * FROM vm"), actions(sql)) == before
        return act()

    claimed = lost_then_repeated(lambda: claim(through))
    assert not claimed.resume
    lost_then_repeated(lambda: record(through, claimed))
    leased = lost_then_repeated(lambda: delete(through))
    lost_then_repeated(lambda: release(through, leased))
    assert actions(sql) == ["create", "running", "delete"]
    assert sql("SELECT count(*) FROM vm") == [(1,)]


@pytest.mark.parametrize(("lose", "arrived"), [("answer", True), ("request", False)])
def test_where_nobody_can_be_asked_a_claim_again_is_harmless(
    through: Settings, cut: Cut, sql: Sql, lose: str, arrived: bool
) -> None:
    with cut(lose, comes_back=False), pytest.raises(VirtfleetError, match="is not known") as lost:
        claim(through)
    assert lost.value.code == "unreachable"
    if arrived:
        # The lease is of the run that was cut off, and not of everybody with its name.
        with pytest.raises(VirtfleetError, match="being changed by ann@desk"):
            claim(through)
        sql("UPDATE vm SET lease_until = now() - interval '1 second'")
    claimed = claim(through)
    assert claimed.resume == arrived
    record(through, claimed)
    assert not claim(through).needed
    assert sql("SELECT state, made FROM vm") == [("running", True)]


@pytest.mark.parametrize(("lose", "arrived"), [("answer", True), ("request", False)])
def test_where_nobody_can_be_asked_a_record_again_is_harmless(
    through: Settings, cut: Cut, sql: Sql, lose: str, arrived: bool
) -> None:
    claimed = claim(through)
    with cut(lose, comes_back=False), pytest.raises(VirtfleetError, match="is not known"):
        record(through, claimed)
    if arrived:
        with pytest.raises(VirtfleetError, match="not leased by us any more"):
            record(through, claimed)
    else:
        record(through, claimed)
    assert actions(sql) == ["create", "running"]
    assert sql("SELECT state, lease_by FROM vm") == [("running", None)]


def test_a_controller_that_vanishes_holds_nobody_up(
    through: Settings, settings: Settings, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is not told that its client is gone, and ends the transaction with its locks by itself."""
    monkeypatch.setattr(registry_connection, "_IDLE_MILLISECONDS", 1000)
    with cut("silently", comes_back=False), pytest.raises(VirtfleetError, match="is not known"):
        claim(through)
    begin = time.monotonic()
    assert claim(settings, "test-2").needed
    assert time.monotonic() - begin < 5


def test_a_registry_from_an_hour_ago_is_told_apart_from_what_is_there(
    settings: Settings, registry: Registry, sql: Sql
) -> None:
    """Tables are put back to what they were; the VMs went on: one moved, one was deleted, one is new, one was made."""
    made = {name: claim(settings, name) for name in ("moved", "deleted")}
    for one in made.values():
        record(settings, one)
    half = claim(settings, "half")
    sql("CREATE TABLE kept AS TABLE vm")
    record(settings, half)
    new = claim(settings, "new")
    record(settings, new)
    sql("DELETE FROM event")
    sql("DELETE FROM vm")
    sql("INSERT INTO vm SELECT * FROM kept")
    sql("DROP TABLE kept")
    sql("UPDATE vm SET lease_until = lease_until - interval '1 hour'")
    elsewhere = {"n1": "n2", "n2": "n1"}[made["moved"].node["name"]]
    there = [
        Domain(elsewhere, "moved", made["moved"].vm["id"], "running", None),
        *(Domain(one.node["name"], one.vm["name"], one.vm["id"], "running", None) for one in (half, new)),
    ]
    seen = Seen(there, {"n1": (), "n2": ()})
    expected = {
        ("moved", "wrong_node"),
        ("deleted", "missing_domain"),
        ("half", "half_made"),
        ("new", "unknown_domain"),
    }
    found, _ids = registry.reconcile(seen, True, "timer")
    assert {(one.name, one.kind) for one in found if one.kind != "stale_cache"} == expected
    assert sql("SELECT name, node, state, made FROM vm WHERE name IN ('moved', 'half') ORDER BY name") == [
        ("half", half.node["name"], "creating", False), ("moved", elsewhere, "running", True),
    ]  # fmt: skip
    # What is left is for a person, and create_vm.yml finishes what was made already.
    assert {one.name for one in registry.reconcile(seen, True, "timer")[0]} == {"deleted", "half", "new"}
    again = claim(settings, "half")
    assert again.resume and again.vm["id"] == half.vm["id"]


def test_no_clock_of_the_controller_is_read_for_the_registry() -> None:
    """What decides on leases reads no clock: not one of these files takes the time of day."""
    files = sorted((ROOT / "plugins" / "module_utils").glob("registry*.py"))
    assert len(files) > 10
    taken = [file.name for file in files if re.search(r"time\.time\(|datetime|localtime|gmtime", file.read_text())]
    assert taken == []
