# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""How long the registry takes no writes when its primary is killed, and whether one that was acknowledged is lost.

    python3 tests/bench/failover.py processes 10               kill Patroni and PostgreSQL, ten times
    python3 tests/bench/failover.py host 10                    kill the whole host
    python3 tests/bench/failover.py host 10 direct             write to the database hosts, past the proxy
    python3 tests/bench/failover.py host 10 10.89.40.10:5432   write through this address

For a lab with three database hosts, by default that of ./up; ANSIBLE_INVENTORY names another. Writes go one after
the other to registry_host.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg2
from plays import ROOT, SETTINGS

WANTED_SECONDS = 20
PATIENCE = 180
TABLE = "public.failover_bench"


class Cloud:
    """The database hosts of the inventory, and what Patroni says of them."""

    def __init__(self) -> None:
        listed = subprocess.run(
            ["ansible-inventory", "--list"],
            cwd=ROOT,
            env=os.environ | SETTINGS,
            capture_output=True,
            text=True,
            check=True,
        )
        inventory = json.loads(listed.stdout)
        self._hosts: dict[str, dict[str, Any]] = inventory["_meta"]["hostvars"]
        self.names: list[str] = inventory["database"]["hosts"]
        self.variables = self._hosts[self.names[0]]
        self._context = ssl.create_default_context(cafile=self.variables["registry_ca_file"])

    def addresses(self) -> list[str]:
        return [self._hosts[name]["ansible_host"] for name in self.names]

    def on(self, name: str, *command: str) -> str:
        run = ["podman", "exec", f"{self.variables['lab_name']}-{name}", *command]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout

    def podman(self, verb: str, name: str) -> None:
        run = ["podman", verb, f"{self.variables['lab_name']}-{name}"]
        subprocess.run(run, capture_output=True, text=True, check=True)

    def members(self) -> list[dict[str, Any]]:
        """What the first member that answers says of all."""
        for address in self.addresses():
            with suppress(OSError):
                url = f"https://{address}:8008/cluster"
                with urllib.request.urlopen(url, timeout=3, context=self._context) as answer:
                    return list(json.load(answer)["members"])
        return []

    def primary(self) -> str:
        (name,) = (member["name"] for member in self.members() if member["role"] == "leader")
        return str(name)

    def is_whole(self) -> bool:
        """Whether there are a primary and standbys that follow it, one of them without a loss."""
        members = self.members()
        roles = [member["role"] for member in members]
        states = [member["state"] for member in members]
        # Patroni 3 of Debian 12 chooses one standby, and calls everything running.
        if "quorum_standby" in roles:
            follow = states.count("streaming") == len(self.names) - 1
        else:
            follow = "sync_standby" in roles and states.count("running") == len(self.names)
        return roles.count("leader") == 1 and follow

    def wait_until_whole(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.is_whole():
            if time.monotonic() > deadline:
                sys.exit(f"the database hosts were not whole again within {PATIENCE} s: {self.members()}")
            time.sleep(1)

    def sql(self, statement: str) -> None:
        psql = ["psql", "--quiet", self.variables["registry_name"], "--command", statement]
        self.on(self.primary(), "runuser", "-u", "postgres", "--", *psql)

    def connect(self, to: str) -> Any:
        host, _colon, port = to.rpartition(":")
        return psycopg2.connect(
            host=host,
            port=port,
            dbname=self.variables["registry_name"],
            user=self.variables["registry_user"],
            password=self.variables["registry_password"],
            sslmode="verify-full",
            sslrootcert=self.variables["registry_ca_file"],
            target_session_attrs="read-write",
            connect_timeout=2,
            tcp_user_timeout=3000,
            options="-c statement_timeout=3000",
        )


class Writer(threading.Thread):
    """Inserts one number after the other until it is stopped, and remembers what was acknowledged and when."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._connect = connect
        self._stopped = threading.Event()
        self._number = 0
        # number, when it was begun and when it was acknowledged
        self.acknowledged: list[tuple[int, float, float]] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            with suppress(psycopg2.Error):
                self._write_while_connected()
            time.sleep(0.05)

    def _write_while_connected(self) -> None:
        connection = self._connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not self._stopped.is_set():
                    self._number += 1
                    begun = time.monotonic()
                    cursor.execute(f"INSERT INTO {TABLE} VALUES (%s)", (self._number,))
                    self.acknowledged.append((self._number, begun, time.monotonic()))
                    time.sleep(0.02)
        finally:
            connection.close()

    def wait_for_one_begun_after(self, moment: float) -> float:
        """When the first such write was acknowledged."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if later := [done for _number, begun, done in self.acknowledged if begun > moment]:
                return later[0]
            time.sleep(0.05)
        sys.exit(f"no write was accepted within {PATIENCE} s")

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=30)


def one_try(cloud: Cloud, what: str, writer: Writer) -> float:
    """Kill the primary; the seconds until the next write was accepted."""
    primary = cloud.primary()
    begun = time.monotonic()
    if what == "host":
        cloud.podman("kill", primary)
    else:
        cloud.on(primary, "systemctl", "kill", "--signal=KILL", "patroni.service")
    seconds = writer.wait_for_one_begun_after(time.monotonic()) - begun
    print(f"{primary} lost, {cloud.primary()} took over: {seconds:5.1f} s without a write", flush=True)
    if what == "host":
        cloud.podman("start", primary)
    return seconds


def lost(cloud: Cloud, to: str, writer: Writer) -> list[int]:
    with cloud.connect(to) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT n FROM {TABLE}")
        there = {number for (number,) in cursor.fetchall()}
    return sorted({number for number, _begun, _done in writer.acknowledged} - there)


def main() -> int:
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what not in ("processes", "host"):
        sys.exit(__doc__)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    cloud = Cloud()
    to = f"{cloud.variables['registry_host']}:{cloud.variables['registry_port']}"
    if len(sys.argv) > 3:
        to = f"{','.join(cloud.addresses())}:5432" if sys.argv[3] == "direct" else sys.argv[3]
    cloud.wait_until_whole()
    cloud.sql(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n bigint)")
    cloud.sql(f"GRANT SELECT, INSERT ON {TABLE} TO {cloud.variables['registry_user']}")
    writer = Writer(lambda: cloud.connect(to))
    writer.start()
    try:
        seconds = []
        for _number in range(count):
            cloud.wait_until_whole()
            # At another moment of Patroni's round each time.
            time.sleep(random.uniform(2, 6))
            seconds.append(one_try(cloud, what, writer))
        cloud.wait_until_whole()
        writer.stop()
        gone = lost(cloud, to, writer)
    finally:
        writer.stop()
    cloud.sql(f"DROP TABLE {TABLE}")
    print(f"{len(writer.acknowledged)} writes were acknowledged, {len(gone)} of them lost  (wanted: none)")
    return int(bool(gone) or max(seconds) > WANTED_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
