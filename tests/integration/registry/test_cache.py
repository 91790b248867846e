# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Redis that is flushed, is silent, or holds lies: no result is another one, and what is used is put right."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import NotFound
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request
from servers import PASSWORD, free_port, stop, wait

N1 = {"name": "n1", "address": "10.0.0.1"}


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def plain_redis(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis that has no TLS."""
    port = free_port()
    acl = ["--user", "virtfleet", "on", f">{PASSWORD}", "~*", "+@all"]
    binary = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    process = subprocess.Popen(
        ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", *acl],
        executable=binary, cwd=tmp_path, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait(redis.Redis(host="127.0.0.1", port=port).ping)
        yield port
    finally:
        stop(process)


@pytest.fixture
def warned(settings: Settings, warnings: list[str]) -> Iterator[Registry]:
    """The adapter, which may warn."""
    with Registry(settings, warnings.append) as opened:
        yield opened


def make(registry: Registry, name: str = "test-1") -> str:
    claim = registry.claim_new(parse_request({"name": name, "node": "n1", "ram": 64}), "ann@desk", 60)
    registry.record(Record(name, claim.lease or "", "running"), "ann@desk")
    return str(claim.vm["id"])


def act(registry: Registry) -> str:
    """Stop it, as stop_vm.yml does; the node that this is done on."""
    claim = registry.claim_existing("test-1", "stop", "ann@desk", 60)
    registry.record(Record("test-1", claim.lease or "", "stopped"), "ann@desk")
    return claim.node["name"]


LIES: dict[str, Callable[[redis.Redis, str], Any]] = {
    "nothing": lambda cache, key: cache.delete(key),
    "another node": lambda cache, key: cache.set(key, json.dumps({"name": "n2", "address": "10.0.0.2"})),
    "a node that is none": lambda cache, key: cache.set(key, json.dumps({"name": "{{ x }}", "address": "evil"})),
    "no JSON": lambda cache, key: cache.set(key, "lies"),
    "no text": lambda cache, key: cache.set(key, b"\xff\xfe\x00{"),
    "a number": lambda cache, key: cache.set(key, "5"),
    "no words": lambda cache, key: cache.set(key, json.dumps({"name": ["n1"], "address": None})),
    "very deep": lambda cache, key: cache.set(key, "[" * 100000),
    "very much": lambda cache, key: cache.set(key, b"x" * (64 << 20)),
    "a list": lambda cache, key: (cache.delete(key), cache.rpush(key, "n1")),
    "a mapping": lambda cache, key: (cache.delete(key), cache.hset(key, "name", "n1")),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_lies_change_no_result_and_are_put_right_on_use(
    warned: Registry, cache: redis.Redis, settings: Settings, lie: Callable[[redis.Redis, str], Any]
) -> None:
    vm_id = make(warned)
    lie(cache, "vm:test-1")
    there, _source = warned.location("test-1")
    # Of another node than the right one nothing but what acts on it can tell.
    assert there == N1 or LIES["another node"] is lie or LIES["a node that is none"] is lie
    lie(cache, "vm:test-1")
    with Registry(settings, pytest.fail) as registry:
        assert act(registry) == "n1"
        assert registry.location("test-1") == (N1, "redis")
    lie(cache, "vm:test-1")
    with Registry(settings, pytest.fail) as registry:
        seen = Seen([Domain("n1", "test-1", vm_id, "stopped", None)])
        found = registry.reconcile(seen, True, "timer")[0]
        assert {finding.kind for finding in found} <= {"stale_cache"}
        assert registry.reconcile(seen, True, "timer")[0] == []


def test_flushed(registry: Registry, cache: redis.Redis) -> None:
    make(registry)
    cache.flushall()
    assert registry.location("test-1") == (N1, "postgresql")
    assert registry.location("test-1") == (N1, "redis")


def test_a_vm_that_is_gone_is_not_made_by_its_key(registry: Registry, cache: redis.Redis) -> None:
    for key in ("vm:gone", b"vm:\xff\xfe", "vm:'; DROP TABLE vm; --", "vm:"):
        cache.set(key, json.dumps(N1))
    with pytest.raises(NotFound):
        registry.claim_existing("gone", "stop", "ann@desk", 60)
    found = registry.reconcile(Seen(), True, "timer")[0]
    assert [finding.name for finding in found] == ["", "'; DROP TABLE vm; --", "gone"]
    assert cache.keys("vm:[a-z'']*") == []
    assert registry.vms({}) == []


def test_one_connection_and_one_pipeline_for_each_write(registry: Registry, cache: redis.Redis) -> None:
    def connections() -> int:
        return int(cache.info("stats")["total_connections_received"])

    names = [f"vm-{number}" for number in range(30)]
    requests = [(parse_request({"name": name, "ram": 64}), ()) for name in names]
    claims, _refused = registry.claim_many(requests, "ann@desk", 60)
    before = connections()
    registry.record_many([Record(one.vm["name"], one.lease or "", "running") for one in claims], "ann@desk")
    assert connections() - before == 1
    for name in (*names, *(f"gone-{number}" for number in range(30))):
        cache.set(f"vm:{name}", "lies")
    before = connections()
    seen = Seen([Domain(one.node["name"], one.vm["name"], one.vm["id"], "running", None) for one in claims])
    assert len(registry.reconcile(seen, True, "timer")[0]) == 60
    # One to read all of them, and one to write.
    assert connections() - before == 2
    assert len(cache.keys("vm:*")) == 30


def test_a_redis_that_is_silent_costs_its_timeout_once(
    warned: Registry, warnings: list[str], cache: redis.Redis
) -> None:
    vm_id = make(warned)
    pid = int(cache.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        for _time in range(3):
            assert act(warned) == "n1"
            assert warned.location("test-1") == (N1, "postgresql")
        seen = Seen([Domain("n1", "test-1", vm_id, "stopped", None)])
        assert warned.reconcile(seen, True, "timer")[0] == []
        seconds = time.monotonic() - begin
    finally:
        os.kill(pid, signal.SIGCONT)
    # Nine times 1 s if it were asked again and again.
    assert seconds < 4
    assert len(warnings) == 1 and "is left out" in warnings[0]


def left_out(settings: Settings, **change: Any) -> str:
    """The warning with which a Redis is left out."""
    warnings: list[str] = []
    with Registry(replace(settings, cache=replace(settings.cache, **change)), warnings.append) as registry:
        make(registry)
        assert registry.location("test-1") == (N1, "postgresql")
    assert len(warnings) == 1 and "is left out" in warnings[0] and PASSWORD not in warnings[0]
    return warnings[0]


def test_a_redis_of_another_ca_is_left_out(settings: Settings, tmp_path: Path) -> None:
    other, key = tmp_path / "ca.crt", tmp_path / "ca.key"
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=registry"]
    subprocess.run([*certificate, "-keyout", key, "-out", other], check=True, capture_output=True)
    assert "certificate verify failed" in left_out(settings, ca_file=str(other))


def test_a_redis_under_a_name_that_its_certificate_lacks_is_left_out(settings: Settings) -> None:
    assert "localhost" in left_out(settings, host="localhost")


@pytest.mark.parametrize("ca_file", ["", "/nowhere/ca.crt"])
def test_no_redis_is_trusted_without_a_ca(settings: Settings, ca_file: str) -> None:
    left_out(settings, ca_file=ca_file)


def test_a_redis_with_tls_takes_no_plain_words(settings: Settings, cache: redis.Redis) -> None:
    left_out(settings, tls=False)
    assert cache.keys("vm:*") == []


def test_a_redis_without_tls_is_used_where_it_is_said(settings: Settings, plain_redis: int) -> None:
    there = replace(settings, cache=replace(settings.cache, port=plain_redis, tls=False, ca_file=""))
    with Registry(there, pytest.fail) as registry:
        make(registry)
        assert registry.location("test-1") == (N1, "redis")
