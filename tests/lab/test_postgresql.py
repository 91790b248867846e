# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What role postgresql keeps besides the registry: databases of others, and a server that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from .conftest import Lab, Result

# As AWX has it.
OTHER = {"name": "other", "user": "other_owner", "password": "a word of its own"}


def play(lab: Lab, *arguments: str, databases: list[dict[str, str]]) -> Result:
    return lab.play("playbooks/site.yml", "--tags", "registry", *arguments, postgresql_databases=databases)


def connect(lab: Lab, database: str, password: str = OTHER["password"]) -> tuple[str, str]:
    """The database and the user that a client of the registry's address comes to."""
    settings = lab.settings()
    connection = psycopg2.connect(
        host=settings["registry_host"],
        port=settings["registry_port"],
        dbname=database,
        user=OTHER["user"],
        password=password,
        sslmode="verify-full",
        sslrootcert=settings["registry_ca_file"],
        connect_timeout=10,
    )
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        cursor.execute("SELECT current_database(), current_user")
        ((name, user),) = cursor.fetchall()
        return name, user


@pytest.fixture
def other(lab: Lab) -> Iterator[Result]:
    """The run that made another database."""
    with lab.nothing_restarts(lab.hosts("database")):
        made = play(lab, databases=[OTHER])
    assert made.ok, made.output
    yield made
    gone = play(lab, databases=[])
    lab.sql("DROP DATABASE other WITH (FORCE)")
    lab.sql("DROP ROLE other_owner")
    assert gone.ok, gone.output


def test_another_database_is_made_and_let_in(lab: Lab, other: Result) -> None:
    again = play(lab, "-vvv", "--diff", databases=[OTHER])
    assert again.ok and again.unchanged, again.output
    assert OTHER["password"] not in other.output + again.output
    assert connect(lab, "other") == ("other", "other_owner")
    # Its owner is nobody in the registry, which asks for nothing but a password.
    with pytest.raises(psycopg2.OperationalError, match=r"no pg_hba\.conf entry"):
        connect(lab, "virtfleet")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
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
