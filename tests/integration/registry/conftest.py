# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A real PostgreSQL and a real Redis for these tests, from Debian's binaries, on loopback."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_cache import CacheSettings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from jinja2 import Environment
from servers import PASSWORD, ROLES, free_port, postgresql, stop, wait


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="virtfleet-registry-"))
    shutil.chown(path, "postgres", "postgres")
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def admin(folder: Path) -> Iterator[dict[str, Any]]:
    """How the superuser of PostgreSQL connects."""
    with postgresql(folder) as server:
        yield server


def users_acl(**variables: object) -> str:
    """Who may do what in Redis, as the role writes it."""
    templates = Environment(trim_blocks=True, autoescape=False)
    templates.filters["hash"] = lambda text, algorithm: hashlib.new(algorithm, text.encode()).hexdigest()
    return templates.from_string((ROLES / "redis/templates/users.acl.j2").read_text()).render(variables)


@pytest.fixture(scope="session")
def cache(folder: Path, admin: dict[str, Any]) -> Iterator[redis.Redis]:
    """Redis with the role's user, looked at as one who may do everything. Its certificate is PostgreSQL's."""
    # Debian's redis-server is a link to redis-check-rdb of redis-tools; the name it is called by decides what it is.
    binary = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    assert binary, "Redis is needed: apt-get install redis-server"
    port = free_port()
    acl = users_acl(
        redis_user="virtfleet", redis_password=PASSWORD, redis_exporter_password="", __redis_is_cluster=False
    )
    (folder / "redis.conf").write_text(
        f'bind 127.0.0.1\nport 0\ntls-port {port}\nsave ""\nappendonly no\n{acl}\nuser tests on >{PASSWORD} ~* +@all\n'
        f"tls-auth-clients no\ntls-cert-file {folder}/ca.crt\ntls-key-file {folder}/data/key\n"
    )
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            ["redis-server", str(folder / "redis.conf")], executable=binary, cwd=folder, stdout=log, stderr=log
        )
    client = redis.Redis(
        port=port, host="127.0.0.1", username="tests", password=PASSWORD, decode_responses=True,
        ssl=True, ssl_ca_certs=str(folder / "ca.crt"),
    )  # fmt: skip
    try:
        wait(client.ping)
        yield client
    finally:
        client.close()
        stop(process)


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
    cache.flushall()
    sql(
        """INSERT INTO node (name, address, vcpus, memory_mib)
           VALUES ('n1', '10.0.0.1', 8, 4096), ('n2', '10.0.0.2', 8, 4096)"""
    )
    sql("INSERT INTO image (name, size_gib) VALUES ('debian-13', 3)")
    ca_file, port = str(folder / "ca.crt"), cache.connection_pool.connection_kwargs["port"]
    return Settings(
        host="127.0.0.1", port=admin["port"], user="virtfleet", password=PASSWORD, ca_file=ca_file,
        cache=CacheSettings("127.0.0.1", port, password=PASSWORD, ca_file=ca_file),
    )  # fmt: skip


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    """The adapter; a warning fails the test."""
    with Registry(settings, pytest.fail) as opened:
        yield opened
