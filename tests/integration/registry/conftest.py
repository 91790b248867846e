# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A real PostgreSQL and a real Redis for these tests, from Debian's binaries, on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_cache import CacheSettings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings

ROLES = Path(__file__).resolve().parents[3] / "roles"
PASSWORD = "writer-secret-7"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def _wait(try_it: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return try_it()
        except (psycopg2.OperationalError, redis.RedisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="virtfleet-registry-"))
    shutil.chown(path, "postgres", "postgres")
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def admin(folder: Path) -> Iterator[dict[str, Any]]:
    """PostgreSQL with TLS and the role's migrations; how its superuser connects."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert found, "PostgreSQL's server is needed: apt-get install postgresql"
    data, port = folder / "data", _free_port()
    as_postgres = ("runuser", "-u", "postgres", "--")
    _run(*as_postgres, str(found[-1] / "initdb"), "-A", "trust", "-D", str(data))
    _run(
        *as_postgres, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(data / "key"), "-out", str(folder / "ca.crt"),
    )  # fmt: skip
    (data / "key").chmod(0o600)
    (data / "pg_hba.conf").write_text("local all postgres trust\nhostssl virtfleet all 127.0.0.1/32 scram-sha-256\n")
    options = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "ssl": "on",
        "ssl_cert_file": folder / "ca.crt", "ssl_key_file": data / "key", "fsync": "off",
    }  # fmt: skip
    arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", str(found[-1] / "postgres")]
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen([*command, "-D", str(data), *arguments], cwd="/", stdout=log, stderr=log)
    server: dict[str, Any] = {"host": str(folder), "port": port, "user": "postgres"}
    try:
        _wait(lambda: psycopg2.connect(dbname="postgres", **server).close())
        _migrate(server)
        yield server | {"dbname": "virtfleet"}
    finally:
        _stop(process)


def _migrate(server: dict[str, Any]) -> None:
    """What the role does: roles, database, schema, and every migration in order."""
    connection = psycopg2.connect(dbname="postgres", **server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE virtfleet LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE virtfleet_ro LOGIN")
        cursor.execute("CREATE DATABASE virtfleet TEMPLATE template0 ENCODING 'UTF8'")
    connection.close()
    with psycopg2.connect(dbname="virtfleet", **server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA virtfleet")
        for migration in sorted((ROLES / "postgresql/files/migrations").glob("*.sql")):
            text = migration.read_text()
            for variable, value in (("postgresql_writer", "virtfleet"), ("postgresql_reader", "virtfleet_ro")):
                text = text.replace("{{ " + variable + " }}", value)
            cursor.execute(text)
    connection.close()


@pytest.fixture(scope="session")
def cache(folder: Path) -> Iterator[redis.Redis]:
    """Redis with a password."""
    # Debian's redis-server is a link to redis-check-rdb of redis-tools; the name it is called by decides what it is.
    binary = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    assert binary, "Redis is needed: apt-get install redis-server"
    port = _free_port()
    (folder / "redis.conf").write_text(
        f'bind 127.0.0.1\nport {port}\nsave ""\nappendonly no\n'
        f"user default off\nuser virtfleet on >{PASSWORD} ~vm:* +@all\n"
    )
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            ["redis-server", str(folder / "redis.conf")], executable=binary, cwd=folder, stdout=log, stderr=log
        )
    client = redis.Redis(port=port, host="127.0.0.1", username="virtfleet", password=PASSWORD, decode_responses=True)
    try:
        _wait(client.ping)
        yield client
    finally:
        client.close()
        _stop(process)


@pytest.fixture
def sql(admin: dict[str, Any]) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Looks at the tables past the adapter."""
    connection = psycopg2.connect(**admin, options="-c search_path=virtfleet")
    connection.autocommit = True

    def query(text: str, *values: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall()) if cursor.description else []

    yield query
    connection.close()


@pytest.fixture
def settings(
    admin: dict[str, Any], cache: redis.Redis, folder: Path, sql: Callable[..., list[tuple[Any, ...]]]
) -> Settings:
    """An empty registry with two nodes and one image."""
    sql("TRUNCATE event, vm, image, node, project, subnet CASCADE")
    for key in cache.keys("vm:*"):
        cache.delete(key)
    sql(
        """INSERT INTO node (name, address, vcpus, memory_mib)
           VALUES ('n1', '10.0.0.1', 8, 4096), ('n2', '10.0.0.2', 8, 4096)"""
    )
    sql("INSERT INTO image (name, size_gib) VALUES ('debian-13', 3)")
    return Settings(
        host="127.0.0.1", port=admin["port"], user="virtfleet", password=PASSWORD, ca_file=str(folder / "ca.crt"),
        cache=CacheSettings("127.0.0.1", cache.connection_pool.connection_kwargs["port"], password=PASSWORD),
    )  # fmt: skip


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    """The adapter; a warning fails the test."""
    with Registry(settings, pytest.fail) as opened:
        yield opened
