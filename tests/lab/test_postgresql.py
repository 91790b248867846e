# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What role postgresql keeps besides the registry: databases of others, and a server that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .conftest import CA, Lab, Result

# As AWX has it.
OTHER = {"name": "other", "user": "other_owner", "password": "a word of its own"}
# From another host, by TLS that is verified.
CONNECT = """
import json, psycopg2, sys
work = json.load(sys.stdin)
connection = psycopg2.connect(sslmode="verify-full", connect_timeout=10, **work["to"])
with connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    cursor.execute("SELECT current_database(), current_user")
    print(*cursor.fetchone())
"""


def play(lab: Lab, *arguments: str, databases: list[dict[str, str]]) -> Result:
    return lab.play("playbooks/site.yml", "--tags", "registry", *arguments, postgresql_databases=databases)


def connect(lab: Lab, database: str, password: str = OTHER["password"]) -> str:
    """What a client of the registry's address is told, on a node."""
    settings = lab.settings()
    place = {"host": settings["registry_host"], "port": settings["registry_port"], "sslrootcert": CA}
    to = {**place, "dbname": database, "user": OTHER["user"], "password": password}
    return lab.python(lab.hosts("virtualization")[0], CONNECT, stdin=json.dumps({"to": to})).strip()


@pytest.fixture
def other(lab: Lab) -> Iterator[Result]:
    """The run that made another database."""
    made = play(lab, databases=[OTHER])
    assert made.ok, made.output
    yield made
    gone = play(lab, databases=[])
    lab.sql("DROP DATABASE other WITH (FORCE)")
    lab.sql("DROP ROLE other_owner")
    assert gone.ok, gone.output


def test_another_database_is_made_and_let_in(lab: Lab, other: Result) -> None:
    assert OTHER["password"] not in other.output
    again = play(lab, databases=[OTHER])
    assert again.ok and again.unchanged, again.output
    assert connect(lab, "other") == "other other_owner"
    # Its owner is nobody in the registry, which asks for nothing but a password.
    with pytest.raises(AssertionError, match=r"no pg_hba\.conf entry"):
        connect(lab, "virtfleet")
    with pytest.raises(AssertionError, match="password authentication failed"):
        connect(lab, "other", "a wrong one")


def test_a_server_that_stopped_is_started(lab: Lab) -> None:
    (host,) = lab.hosts("database")
    lab.on(host, "sh", "-c", "systemctl stop 'postgresql@*.service'")
    assert lab.on(host, "systemctl", "is-active", "postgresql.service").strip() == "active"
    result = play(lab, databases=[])
    assert result.ok and result.changed_hosts == {host}, result.output
    assert lab.sql("SELECT count(*) FROM virtfleet.node") != ""
    again = play(lab, databases=[])
    assert again.ok and again.unchanged, again.output
