# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A registry with very many VMs for benchmarks that need no lab, and the way to the collection."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from plays import ROOT

# What follows is found by these paths only, and so cannot stand above them.
sys.path[:0] = [str(ROOT / "playbooks" / "collections"), str(ROOT / "tests" / "integration" / "registry")]

from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings  # noqa: E402
from servers import PASSWORD, postgresql  # noqa: E402

FLEET = """
TRUNCATE event, vm, image, node CASCADE;
INSERT INTO node (name, address, vcpus, memory_mib)
    SELECT 'n' || n, '10.0.0.1', 100000, 2000000000 FROM generate_series(0, 19) AS n;
INSERT INTO image (name, size_gib) VALUES ('debian-13', 3);
INSERT INTO vm (id, name, project, node, state, memory_mib, vcpus, disk_gib, image, mac, ip, tags, made, spec)
    SELECT gen_random_uuid(), 'vm-' || lpad(n::text, 6, '0'), 'p' || mod(n, 50), 'n' || mod(n, 20), 'running', 1024, 1,
        10, 'debian-13', mac, '10.0.0.0'::inet + n, '{web}', true,
        jsonb_build_object('guest_user', 'debian', 'networks', jsonb_build_array(jsonb_build_object('mac', mac)))
    FROM generate_series(1, %s) AS n CROSS JOIN LATERAL (
        SELECT ('5254' || lpad(to_hex(n), 8, '0'))::macaddr AS mac) AS drawn;
"""


@contextmanager
def registry() -> Iterator[tuple[dict[str, Any], Settings, Path]]:
    """How a superuser and the writing role connect, and a folder."""
    folder = Path(tempfile.mkdtemp(prefix="virtfleet-bench-"))
    shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o755)
    try:
        with postgresql(folder) as admin:
            yield admin, Settings("127.0.0.1", "virtfleet", PASSWORD, str(folder / "ca.crt"), admin["port"]), folder
    finally:
        shutil.rmtree(folder)


def fill(admin: dict[str, Any], count: int) -> None:
    """So many VMs on 20 nodes, in 50 projects; and what autovacuum does after a while."""
    connection = psycopg2.connect(**admin, options="-c search_path=virtfleet")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(FLEET, (count,))
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def timed(act: Callable[[], object]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin
