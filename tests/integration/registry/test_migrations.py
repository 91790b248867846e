# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Every schema that there was becomes today's with the data that is in it, and the registry goes on with that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request
from servers import MIGRATIONS, ROLES, make_database, migrate

ROOT = ROLES.parent
LEASED = "now() + interval '1 hour'"
NETWORKS = (
    '{"networks": [{"mac": "52:54:00:00:00:0a", "network": "default", "subnet": "lan", "address": "10.7.0.9/24"}]}'
)
GROUP = '{"placement": {"placement": "packed", "anti_affinity": {"group": "db", "hard": true}, "node_labels": null}}'


def vm(number: int, name: str, state: str, **columns: str) -> str:
    """SQL that puts a VM there; values of columns are SQL."""
    row = {
        "id": f"'00000000-0000-4000-8000-{number:012}'", "name": f"'{name}'", "project": "'shop'", "node": "'n1'",
        "state": f"'{state}'", "memory_mib": "64", "vcpus": "1", "disk_gib": "3", "image": "'debian-13'",
        "mac": f"'52:54:00:00:00:{number:02}'", "tags": "'{web,tier=1}'", "made": "true", **columns,
    }  # fmt: skip
    return f"INSERT INTO virtfleet.vm ({', '.join(row)}) VALUES ({', '.join(row.values())})"


def event(number: int, action: str) -> str:
    return f"""INSERT INTO virtfleet.event (vm, actor, action, detail)
        VALUES ('00000000-0000-4000-8000-{number:012}', 'ann@desk', '{action}', '{{"node": "n1"}}')"""


# What can be in a registry from each migration on, by the beginning of its name.
DATA = {
    "0001": [
        "INSERT INTO virtfleet.node (name, address, vcpus, memory_mib) VALUES ('n1', '10.0.0.1', 8, 4096)",
        "INSERT INTO virtfleet.node VALUES ('n2', '10.0.0.2', 8, 4096, 'cordoned', '{\"rack\": \"b\"}')",
        "INSERT INTO virtfleet.image (name, size_gib) VALUES ('debian-13', 3)",
        vm(1, "running", "running", ip="'192.0.2.1'", spec='\'{"user_data_sha256": "abc", "disks": []}\''),
        vm(2, "stopped", "stopped", protected="true"),
        vm(3, "suspended", "suspended"),
        vm(4, "creating", "creating", made="false", lease_by="'ann@desk 0123'", lease_until=LEASED),
        vm(5, "failed", "creating", made="false", step="'clone'", error='\'{"code": "timeout", "message": "late"}\''),
        vm(6, "moving", "migrating", spec='\'{"moving_to": "n2"}\''),
        vm(7, "deleting", "deleting"),
        vm(8, "gone", "deleted"),
        vm(9, "gone", "stopped"),
        vm(10, "bad", "error"),
        event(1, "create"), event(1, "running"), event(8, "create"), event(8, "delete"),
    ],
    "0002": [vm(11, "connected", "running", mac="'52:54:00:00:00:0a'", ip="'10.7.0.9'", spec=f"'{NETWORKS}'")],
    "0004": [
        "UPDATE virtfleet.node SET memory_overcommit = 1.5, placed_at = now(), seen_at = now() WHERE name = 'n1'",
        "INSERT INTO virtfleet.project (name, vms) VALUES ('shop', 20)",
        vm(12, "grouped", "running", spec=f"'{GROUP}'"),
    ],
    "0005": [
        """INSERT INTO virtfleet.subnet (name, definition) VALUES ('lan', '{"name": "lan", "cidr": "10.7.0.0/24",
           "first": "10.7.0.2", "last": "10.7.0.254", "network": "default"}')"""
    ],
}  # fmt: skip
NAMES = {
    "0001": {"running", "stopped", "suspended", "creating", "failed", "moving", "deleting", "gone", "bad"},
    "0002": {"connected"},
    "0004": {"grouped"},
}


def until(number: int, what: dict[str, Any]) -> list[Any]:
    """What there can be in the registry with so many migrations."""
    there = [path.name[:4] for path in MIGRATIONS[:number]]
    return [value for key, value in what.items() if key in there]


def execute(database: dict[str, Any], *statements: str) -> None:
    with closing(psycopg2.connect(**database)) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


def contents(database: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with closing(psycopg2.connect(**database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'virtfleet'")
        tables = [name for (name,) in cursor.fetchall()]
        found = {}
        for name in tables:
            cursor.execute(f"SELECT to_jsonb(t) FROM virtfleet.{name} AS t ORDER BY 1")
            found[name] = [row for (row,) in cursor.fetchall()]
        return found


@pytest.fixture(scope="module", params=range(1, len(MIGRATIONS) + 1), ids=lambda number: MIGRATIONS[number - 1].stem)
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def grown(admin: dict[str, Any], number: int) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """A registry that had its data at that migration: how its superuser connects, what was there, what there is now."""
    database = admin | {"dbname": f"from_{number}"}
    make_database(admin, database["dbname"])
    migrate(database, MIGRATIONS[:number])
    execute(database, *[statement for statements in until(number, DATA) for statement in statements])
    before = contents(database)
    migrate(database, MIGRATIONS[number:])
    yield database, before, contents(database)
    execute(admin, f"DROP DATABASE {database['dbname']} WITH (FORCE)")


def test_every_migration_is_tested_with_what_it_can_hold(grown: tuple[Any, dict[str, Any], Any]) -> None:
    """A table that a migration adds has rows in DATA."""
    _database, before, _after = grown
    assert [name for name, rows in before.items() if not rows] == []


def test_all_of_it_is_kept(grown: tuple[Any, dict[str, Any], dict[str, Any]]) -> None:
    _database, before, after = grown
    for table, rows in before.items():
        assert len(after[table]) == len(rows)
        for row in rows:
            assert any(row.items() <= now.items() for now in after[table]), row


def test_the_registry_goes_on_with_it(grown: tuple[dict[str, Any], Any, Any], number: int, settings: Settings) -> None:
    database, _before, _after = grown
    names = set().union(*until(number, NAMES))
    with Registry(replace(settings, database=database["dbname"]), pytest.fail) as registry:
        vms = {vm["name"]: vm for vm in registry.vms({})}
        assert set(vms) == names and vms["running"]["tags"] == ["web", "tier=1"]
        assert [(node["name"], node["state"]) for node in registry.nodes()] == [("n1", "active"), ("n2", "cordoned")]
        assert [entry["action"] for entry in registry.history("running", 9)] == ["running", "create"]
        assert len(registry.history("gone", 9)) == 2
        for name in sorted(names - {"creating", "moving", "deleting"}):
            claim = registry.claim_existing(name, "stop", "ann@desk", 60)
            registry.record(Record(name, claim.lease or "", "stopped"), "ann@desk")
        for name, code in (("creating", "busy"), ("moving", "conflict"), ("deleting", "conflict")):
            with pytest.raises(VirtfleetError) as refused:
                registry.claim_existing(name, "stop", "ann@desk", 60)
            assert refused.value.code == code
        assert registry.claim_move("moving", None, "ann@desk", 60).target == {"name": "n2", "address": "10.0.0.2"}
        new = registry.claim_new(parse_request({"name": "new", "project": "shop", "disk": 3}), "ann@desk", 60)
        assert (
            new.vm["node"] == "n1"
            and not registry.claim_new(
                parse_request({"name": "running", "ram": 64, "project": "shop"}), "ann@desk", 60
            ).needed
        )
        registry.claim_change("stopped", {"ram": 128}, "ann@desk", 60)
        # Two had this name; the other one is still in the way.
        assert not registry.claim_deleted("gone", "ann@desk", 60).needed


def test_who_may_do_what(grown: tuple[dict[str, Any], Any, dict[str, Any]]) -> None:
    database, _before, after = grown
    with closing(psycopg2.connect(**database)) as connection, connection.cursor() as cursor:

        def may(role: str, right: str) -> set[str]:
            cursor.execute(
                """SELECT relname FROM pg_class WHERE relnamespace = 'virtfleet'::regnamespace AND relkind = 'r'
                   AND has_table_privilege(%s, oid, %s)""",
                (role, right),
            )
            return {name for (name,) in cursor.fetchall()}

        assert may("virtfleet_ro", "SELECT") == may("virtfleet", "SELECT") == set(after)
        assert may("virtfleet_ro", "INSERT, UPDATE, DELETE, TRUNCATE") == set()
        # What happened is never changed, and of VMs the rows stay.
        assert may("virtfleet", "UPDATE") == set(after) - {"event"}
        assert may("virtfleet", "DELETE") == set(after) - {"event", "vm"}


@pytest.fixture
def role(admin: dict[str, Any], folder: Path, tmp_path: Path) -> Iterator[Any]:
    """Brings the schema of a database of its own up to date with the role's tasks, from a copy of its files."""
    shutil.copytree(ROLES / "postgresql", tmp_path / "postgresql")
    server = {"login_unix_socket": str(folder), "login_port": admin["port"]}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"community.postgresql.postgresql_query": server},
        "tasks": [
            {"ansible.builtin.include_role": {"name": str(tmp_path / "postgresql"), "tasks_from": "migrate.yml"}}
        ],
        "vars": {
            "__postgresql_migrated": "by_role", "postgresql_writer": "virtfleet", "postgresql_reader": "virtfleet_ro",
            "postgresql_writer_password": "", "postgresql_reader_password": "", "postgresql_address": "127.0.0.1",
            "ansible_become_method": "ansible.builtin.su",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        },
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    execute(admin, "CREATE DATABASE by_role TEMPLATE template0 ENCODING 'UTF8'")

    def bring_up_to_date() -> tuple[int, str]:
        environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    yield bring_up_to_date
    execute(admin, "DROP DATABASE by_role WITH (FORCE)")


def test_the_role_applies_each_migration_once_and_refuses_one_that_was_changed(
    role: Any, admin: dict[str, Any], tmp_path: Path
) -> None:
    code, output = role()
    assert code == 0, output
    database = admin | {"dbname": "by_role"}
    applied = contents(database)["schema_migration"]
    assert [row["name"] for row in applied] == [path.name for path in MIGRATIONS]
    code, output = role()
    assert code == 0 and "changed=0 " in output, output
    # What was applied before there were checksums.
    execute(database, "ALTER TABLE virtfleet.schema_migration DROP COLUMN checksum")
    code, output = role()
    assert code == 0 and "changed=0 " not in output, output
    assert contents(database)["schema_migration"] == applied
    files = sorted((tmp_path / "postgresql/files/migrations").glob("*.sql"))
    files[1].write_text(files[1].read_text() + "\n-- as it should have been\n")
    files[-1].with_name("9999_new.sql").write_text("CREATE TABLE virtfleet.new (name text)")
    code, output = role()
    assert code != 0 and f"another text of {MIGRATIONS[1].name} than" in output, output
    assert "new" not in contents(database)
