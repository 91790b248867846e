# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A PostgreSQL of one's own from Debian's binaries, on loopback, with TLS and the registry's schema."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import redis

ROLES = Path(__file__).resolve().parents[3] / "roles"
MIGRATIONS = sorted((ROLES / "postgresql/files/migrations").glob("*.sql"))
AS_POSTGRES = ("runuser", "-u", "postgres", "--")
PASSWORD = "writer-secret-7"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def wait(try_it: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return try_it()
        except (psycopg2.OperationalError, redis.RedisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server; PostgreSQL does not wait for its clients then."""
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)


class PostgreSQL:
    """A server with nothing in it, or a standby, which can be started and stopped.

    Args:
        folder: belongs to user postgres; the server's certificate is in it as ca.crt.
        primary: how the superuser of the server connects that it is to be a standby of, in the same folder.

    Attributes:
        superuser: how that connects.
    """

    def __init__(self, folder: Path, primary: Mapping[str, Any] | None = None) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        assert found, "PostgreSQL's server is needed: apt-get install postgresql"
        self._folder, data, port = folder, folder / ("standby" if primary else "data"), free_port()
        self._log = folder / f"{data.name}.log"
        self.superuser: dict[str, Any] = {"host": str(folder), "port": port, "user": "postgres"}
        if primary is None:
            self._make(found[-1], data)
        else:
            self._copy(found[-1], data, primary)
        options = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "ssl": "on",
            "ssl_cert_file": folder / "ca.crt", "ssl_key_file": data / "key", "fsync": "off",
        }  # fmt: skip
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        as_postgres = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
        self._command = [*as_postgres, str(found[-1] / "postgres"), "-D", str(data), *arguments]

    def _make(self, binaries: Path, data: Path) -> None:
        _run(*AS_POSTGRES, str(binaries / "initdb"), "-A", "trust", "-D", str(data))
        _run(
            *AS_POSTGRES, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(data / "key"), "-out",
            str(self._folder / "ca.crt"),
        )  # fmt: skip
        (data / "key").chmod(0o600)
        rules = "local all,replication postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        (data / "pg_hba.conf").write_text(rules)

    def _copy(self, binaries: Path, data: Path, primary: Mapping[str, Any]) -> None:
        source = ["--host", primary["host"], "--port", str(primary["port"]), "--username", primary["user"]]
        copy = ["--write-recovery-conf", "--checkpoint", "fast", "--pgdata", str(data)]
        _run(*AS_POSTGRES, str(binaries / "pg_basebackup"), *source, *copy)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd="/", stdout=log, stderr=log)
        wait(lambda: psycopg2.connect(dbname="postgres", **self.superuser).close())

    def stop(self) -> None:
        stop(self._process)


@contextmanager
def postgresql(folder: Path) -> Iterator[dict[str, Any]]:
    """PostgreSQL with the role's migrations; how its superuser connects.

    Args:
        folder: as for PostgreSQL.
    """
    server = PostgreSQL(folder)
    try:
        server.start()
        set_up(server.superuser)
        yield server.superuser | {"dbname": "virtfleet"}
    finally:
        server.stop()


def set_up(server: dict[str, Any]) -> None:
    """What the role does: roles, database, schema, and every migration in order."""
    connection = psycopg2.connect(dbname="postgres", **server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE virtfleet LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE virtfleet_ro LOGIN")
    connection.close()
    make_database(server, "virtfleet")
    migrate(server | {"dbname": "virtfleet"}, MIGRATIONS)


def make_database(server: dict[str, Any], name: str) -> None:
    """An empty database with the schema, on a server that has the roles."""
    connection = psycopg2.connect(**server | {"dbname": "postgres"})
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    connection.close()
    with psycopg2.connect(**server | {"dbname": name}) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA virtfleet")
    connection.close()


def migrate(database: dict[str, Any], migrations: Sequence[Path]) -> None:
    """Apply migrations in their order, each in one transaction."""
    connection = psycopg2.connect(**database)
    for migration in migrations:
        text = migration.read_text()
        for variable, value in (("postgresql_writer", "virtfleet"), ("postgresql_reader", "virtfleet_ro")):
            text = text.replace("{{ " + variable + " }}", value)
        with connection, connection.cursor() as cursor:
            cursor.execute(text)
    connection.close()
