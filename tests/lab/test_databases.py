# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Three database hosts: whatever one of them loses, the registry goes on. On a lab that was made with --databases 3."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_cache import CacheSettings, NodeCache

from .conftest import CA, MINUTE, ROOT, Lab, Result, until

pytestmark = pytest.mark.slow

PATRONI = ("patronictl", "--config-file", "/etc/patroni/config.yml")
ETCD = (
    f"--cacert={CA} --cert=/etc/ssl/certs/virtfleet.crt --key=/etc/ssl/private/virtfleet.key"
    " --endpoints=https://127.0.0.1:2379"
)
# What a write waits for at most when a standby is lost; another one acknowledges it.
STALL_SECONDS = 5
REDIS_SECONDS = 10
# What the registry's client may be without the cache.
CACHE_SECONDS = 20
CACHED = "cache-test"


@pytest.fixture(autouse=True)
def whole(lab: Lab) -> None:
    if len(lab.hosts("database")) < 3:
        pytest.skip("this lab has one database host")
    wait_until_whole(lab)


def members(lab: Lab) -> list[dict[str, Any]]:
    for host in lab.hosts("database"):
        with suppress(AssertionError):
            return list(json.loads(lab.on(host, *PATRONI, "list", "--format", "json")))
    raise AssertionError("no member of the cluster answers")


def primary(lab: Lab) -> str:
    (name,) = (member["Member"] for member in members(lab) if member["Role"] == "Leader")
    return str(name)


def standbys(lab: Lab) -> list[str]:
    return [member["Member"] for member in members(lab) if member["Role"] != "Leader"]


def is_whole(lab: Lab) -> bool:
    there = members(lab)
    roles = [member["Role"] for member in there]
    states = [member["State"] for member in there]
    # Patroni 3 of Debian 12 chooses one standby, and calls everything running.
    follow = states.count("streaming") == 2 if "Quorum Standby" in roles else states.count("running") == 3
    return roles.count("Leader") == 1 and follow and not {"Quorum Standby", "Sync Standby"}.isdisjoint(roles)


def wait_until_whole(lab: Lab) -> None:
    until(lambda: is_whole(lab), "all three database hosts in the cluster")


def registry(lab: Lab, *arguments: str, **variables: Any) -> Result:
    return lab.play("playbooks/site.yml", "--tags", "registry", *arguments, **variables)


def redis(lab: Lab, host: str, *command: str) -> str:
    client = ["redis-cli", "--tls", "--cacert", CA, "--no-auth-warning", "--user", "virtfleet_exporter"]
    return lab.on(host, *client, "--pass", lab.settings()["redis_exporter_password"], *command)


def redis_masters(lab: Lab, hosts: list[str]) -> list[str]:
    return [host for host in hosts if "role:master" in redis(lab, host, "info", "replication")]


def redis_process(lab: Lab, address: str) -> str:
    """Which process of Redis answers at an address."""
    (told,) = re.findall(r"run_id:(\w+)", redis(lab, lab.hosts("database")[0], "-h", address, "info", "server"))
    return str(told)


def cache(lab: Lab) -> NodeCache:
    """As playbooks have it, through the proxy."""
    of = lab.settings()
    settings = CacheSettings(
        host=of["registry_redis_host"],
        port=of["registry_redis_port"],
        user=of["registry_redis_user"],
        password=of["registry_redis_password"],
        ca_file=of["registry_ca_file"],
    )
    return NodeCache(settings, warn=print)


def is_cached(lab: Lab) -> bool:
    """Whether what is written to the cache now is read from it."""
    client, node = cache(lab), {"name": str(time.monotonic_ns()), "address": "192.0.2.1"}
    client.write({CACHED: node})
    return bool(client.node(CACHED) == node)


def failover(lab: Lab, what: str, count: int) -> None:
    run = [sys.executable, str(ROOT / "tests/bench/failover.py"), what, str(count)]
    environment = os.environ | {"ANSIBLE_INVENTORY": str(lab.inventory)}
    timeout = (5 + 3 * count) * MINUTE
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False, timeout=timeout)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_cluster_begins_with_its_rules(lab: Lab) -> None:
    get = f"etcdctl {ETCD} get /virtfleet/virtfleet/config --write-out=json"
    (kept,) = json.loads(lab.on(primary(lab), "sh", "-c", get))["kvs"]
    # What Patroni began with without them it would go on writing, over what is set later.
    assert json.loads(base64.b64decode(kept["value"]))["synchronous_mode"]
    assert kept["version"] == 1


def test_a_primary_that_is_killed_is_replaced_and_loses_nothing(lab: Lab) -> None:
    failover(lab, "processes", 10)


def test_a_primary_whose_host_is_lost_is_replaced_and_loses_nothing(lab: Lab) -> None:
    failover(lab, "host", 2)


def test_a_second_run_changes_nothing_wherever_the_primary_is(lab: Lab) -> None:
    before = primary(lab)
    lab.on(before, *PATRONI, "switchover", "--candidate", standbys(lab)[0], "--force")
    wait_until_whole(lab)
    assert primary(lab) != before
    result = registry(lab)
    assert result.ok and result.unchanged, result.output
    result = registry(lab, "--check")
    assert result.ok and result.unchanged, result.output


def test_a_lost_standby_does_not_hold_writes_up(lab: Lab) -> None:
    lost, writer = standbys(lab)[0], primary(lab)
    lab.on(lost, "systemctl", "kill", "--signal=STOP", "patroni.service")
    try:
        begin = time.monotonic()
        lab.sql("CREATE TABLE public.standby_test (n int); DROP TABLE public.standby_test", writer)
        assert time.monotonic() - begin < STALL_SECONDS
    finally:
        lab.on(lost, "systemctl", "kill", "--signal=CONT", "patroni.service")


def etcd_leader(lab: Lab) -> str:
    """The host whose member of etcd leads."""
    for host in lab.hosts("database"):
        status = json.loads(lab.on(host, "sh", "-c", f"etcdctl {ETCD} endpoint status --write-out json"))[0]["Status"]
        if status["leader"] == status["header"]["member_id"]:
            return host
    raise AssertionError("etcd has no leader")


@pytest.mark.parametrize("member", [primary, etcd_leader])
def test_without_a_member_of_etcd_the_primary_stays(lab: Lab, member: Callable[[Lab], str]) -> None:
    before, killed = primary(lab), member(lab)
    lab.on(killed, "systemctl", "kill", "--signal=KILL", "etcd.service")
    lab.on(killed, "systemctl", "stop", "etcd.service")
    try:
        # Longer than the time after which a silent primary is replaced.
        time.sleep(20)
        assert primary(lab) == before
        assert lab.sql("SELECT pg_is_in_recovery()", before) == "f"
    finally:
        lab.on(killed, "systemctl", "start", "etcd.service")


def test_a_lost_master_of_redis_is_replaced(lab: Lab) -> None:
    hosts = lab.hosts("database")
    (master,) = redis_masters(lab, hosts)
    others = [host for host in hosts if host != master]
    lab.on(master, "systemctl", "stop", "redis-server.service", "redis-sentinel.service")
    try:
        seconds = until(lambda: len(redis_masters(lab, others)) == 1, "another master")
        assert seconds < REDIS_SECONDS
        (successor,) = redis_masters(lab, others)
        until(lambda: is_cached(lab), "the cache is back")
    finally:
        lab.on(master, "systemctl", "start", "redis-server.service", "redis-sentinel.service")
    # It is a master still, until Sentinel tells it otherwise, and gets no clients meanwhile.
    proxy, served = lab.settings()["registry_redis_host"], set()

    def is_replica() -> bool:
        served.add(redis_process(lab, proxy))
        return redis_masters(lab, hosts) == [successor]

    until(is_replica, "one master again")
    assert served == {redis_process(lab, lab.address(successor))}
    result = registry(lab)
    assert result.ok and result.unchanged, result.output


def test_a_replica_of_redis_that_was_half_made_is_finished(lab: Lab) -> None:
    hosts = lab.hosts("database")
    (master,) = redis_masters(lab, hosts)
    half = next(host for host in hosts if host != master)
    lab.on(half, "systemctl", "stop", "redis-server.service", "redis-sentinel.service")
    lab.on(half, "sed", "-i", "/^replicaof /d", "/etc/redis/redis.conf")
    lab.on(half, "rm", "/etc/redis/sentinel.conf", "/etc/redis/virtfleet-sentinel.conf")
    # The others would make a replica of one that they know.
    for host in set(hosts) - {half}:
        sentinel = ["redis-cli", "--tls", "--cacert", CA, "-p", "26379", "--no-auth-warning"]
        lab.on(host, *sentinel, "--pass", lab.settings()["redis_sentinel_password"], "sentinel", "reset", "virtfleet")
    lab.on(half, "systemctl", "start", "redis-server.service")
    assert sorted(redis_masters(lab, hosts)) == sorted([master, half])
    result = registry(lab)
    assert result.ok and result.changed_hosts == {half}, result.output
    until(lambda: redis_masters(lab, hosts) == [master], "one master")
    assert f"master_host:{lab.address(master)}" in redis(lab, half, "info", "replication")


@pytest.mark.parametrize("turn", range(1, 11))
def test_the_cache_is_soon_back_when_its_master_was_killed(lab: Lab, turn: int) -> None:
    # By turns it is started again by systemd at once, or stays away and another one takes its place.
    stays_away = turn % 2 == 0
    hosts, unit = lab.hosts("database"), "redis-server.service"
    (master,) = redis_masters(lab, hosts)
    kill = f"systemctl kill --signal=KILL {unit}"
    if stays_away:
        # At once, before systemd starts it again.
        kill += f" && systemctl stop {unit}"

    def process() -> str:
        return lab.on(master, "systemctl", "show", "--property", "MainPID", "--value", unit)

    assert is_cached(lab)
    killed = process()
    lab.on(master, "sh", "-c", kill)
    try:
        seconds = until(lambda: is_cached(lab), "the cache is back", CACHE_SECONDS, pause=0.1)
        print(f"{master}, which {'stays away' if stays_away else 'comes back'}: {seconds:.1f} s without the cache")
        assert seconds < CACHE_SECONDS
        assert process() != killed
        if stays_away:
            assert len(redis_masters(lab, [host for host in hosts if host != master])) == 1
    finally:
        lab.on(master, "systemctl", "start", unit)
        until(lambda: len(redis_masters(lab, hosts)) == 1, "one master again")
        cache(lab).write({CACHED: None})


def test_a_host_that_is_away_does_not_stop_the_others(lab: Lab) -> None:
    away = standbys(lab)[0]
    with lab.away(away):
        result = registry(lab)
    assert result.recap[away]["unreachable"]
    assert not any(result.recap[host]["failed"] for host in lab.hosts("database")), result.output


def test_backups_are_made_and_restored_where_the_primary_is(lab: Lab, tmp_path: Any) -> None:
    dump = tmp_path / "registry.pgc"
    result = lab.play("playbooks/backup_registry.yml", file=str(dump))
    assert result.ok and dump.stat().st_size > 0, result.output
    # By itself, as site.yml had registered the nodes before.
    nodes = lab.sql("SELECT count(*) FROM virtfleet.node", primary(lab))
    result = lab.play("playbooks/restore_registry.yml", file=str(dump), replace=True)
    assert result.ok, result.output
    assert lab.sql("SELECT count(*) FROM virtfleet.node", primary(lab)) == nodes


def test_a_host_that_was_installed_anew_takes_its_place_again(lab: Lab) -> None:
    lost = standbys(lab)[0]
    lab.on(lost, "systemctl", "disable", "--now", "patroni", "etcd", "redis-server", "redis-sentinel")
    gone = "/var/lib/postgresql/*/main /etc/postgresql/*/main /etc/patroni/config.yml /etc/default/etcd-first"
    gone += " /var/lib/etcd/virtfleet /etc/redis/virtfleet* /etc/redis/users.acl"
    # Not those of Ceph, whose daemons are on this host too.
    gone += "".join(f" /etc/systemd/system/{unit}.service.d" for unit in ("patroni", "etcd", "redis-server"))
    lab.on(lost, "sh", "-c", f"rm -rf {gone} && systemctl daemon-reload")
    packages = "patroni etcd-server redis-server redis-sentinel postgresql-common"
    lab.on(lost, "sh", "-c", f"apt-get -qq purge {packages} 'postgresql-*'", minutes=3)
    result = registry(lab)
    assert result.ok, result.output
    changed = [line for line in result.output.splitlines() if line.startswith("changed: [")]
    assert [line for line in changed if f"[{lost}" not in line] == []
    wait_until_whole(lab)
    assert "3" in lab.on(primary(lab), "sh", "-c", f"etcdctl {ETCD} member list | grep -c ', started, '")


def test_two_hosts_are_refused(lab: Lab) -> None:
    result = registry(lab, postgresql_hosts=lab.hosts("database")[:2])
    assert not result.ok
    assert "cannot agree on which of them is the primary" in " ".join(result.output.split())
