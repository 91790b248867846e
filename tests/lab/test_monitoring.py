# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus asks everything that the inventory has, alerts read what is really there, and reach Alertmanager."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import JOBS, MINUTE, ROOT, Lab, run_job, until

RULES = ROOT / "roles" / "prometheus" / "files" / "rules"
GUEST = "watched-1"
FETCH = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"


def ask(lab: Lab, path: str, port: int = 9090) -> Any:
    host = lab.hosts("monitoring")[0]
    return json.loads(lab.python(host, FETCH, f"https://{lab.address(host)}:{port}/{path}"))


def query(lab: Lab, expression: str) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = ask(lab, f"prometheus/api/v1/query?query={quote(expression)}")["data"]["result"]
    return result


def targets(lab: Lab) -> dict[tuple[str, str], dict[str, Any]]:
    active = ask(lab, "prometheus/api/v1/targets?state=active")["data"]["activeTargets"]
    return {(target["labels"]["job"], target["labels"]["instance"]): target for target in active}


@pytest.fixture(scope="module")
def told(lab: Lab) -> Iterator[None]:
    """All that tells something once in a while has done so."""
    for job in JOBS:
        run_job(lab, job)
    for host in lab.hosts("database"):
        lab.on(host, "systemctl", "start", "virtfleet-registry-backup.service")
    yield


def test_every_host_of_every_job_answers(lab: Lab) -> None:
    databases = lab.hosts("database")
    clustered = databases if len(databases) > 1 else []
    groups = {
        "node": [*{host for group in ("manager", "ceph_osd", "virtualization") for host in lab.hosts(group)}],
        "libvirt": lab.hosts("virtualization"),
        "postgresql": databases,
        "redis": databases,
        "patroni": clustered,
        "etcd": clustered,
        # A manager that waits has nothing to tell, and does not answer on Debian 13.
        "ceph": [json.loads(lab.on("node-1", "ceph", "mgr", "dump", "--format", "json"))["active_name"]],
        "haproxy": [*lab.hosts("internal_haproxy"), *lab.hosts("external_haproxy")],
        "prometheus": lab.hosts("monitoring"),
        "alertmanager": lab.hosts("monitoring"),
    }
    wanted = {(job, host) for job, hosts in groups.items() for host in hosts}
    deadline = time.monotonic() + MINUTE
    while down := wanted - {key for key, target in targets(lab).items() if target["health"] == "up"}:
        assert time.monotonic() < deadline, {key: targets(lab).get(key, {}).get("lastError") for key in down}
        time.sleep(3)


def test_what_rules_read_is_there(lab: Lab, told: None) -> None:
    text = "".join(file.read_text() for file in RULES.glob("*.yml"))
    read = set(re.findall(r'\b([a-z]+_\w+)\{job="(\w+)"', text))
    jobs = {job for job, _host in targets(lab)}
    print("no targets here:", sorted({job for _metric, job in read} - jobs))
    assert len(read) > 30

    def all_there() -> bool:
        there = {metric["metric"]["__name__"] for metric in query(lab, 'count by (__name__) ({job!=""})')}
        assert sorted(name for name, job in read if job in jobs and name not in there) == []
        return True

    until(all_there, "what rules read", MINUTE, pause=3)


def test_exporters_get_in_where_they_ask(lab: Lab) -> None:
    hosts = {"libvirt": lab.hosts("virtualization"), "pg": lab.hosts("database"), "redis": lab.hosts("database")}

    def of(name: str) -> set[str]:
        return {metric["metric"]["instance"] for metric in query(lab, f"{name}_up == 1")}

    until(lambda: {name: of(name) for name in hosts} == {name: set(hosts[name]) for name in hosts}, "all in", MINUTE)


def test_no_rule_fails(lab: Lab) -> None:
    groups = ask(lab, "prometheus/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 40
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"] == []


@pytest.mark.parametrize("port", [9090, 9093])
def test_plain_http_is_refused(lab: Lab, port: int) -> None:
    host = lab.hosts("monitoring")[0]
    with pytest.raises(AssertionError, match="HTTP Error 400"):
        lab.python(host, FETCH, f"http://{lab.address(host)}:{port}/")


def test_nothing_listens_on_all_addresses(lab: Lab) -> None:
    for host in {*lab.hosts("monitoring"), *lab.hosts("virtualization"), *lab.hosts("database")}:
        sockets = lab.on(host, "ss", "--listening", "--tcp", "--numeric", "--no-header")
        local = [line.split()[3] for line in sockets.splitlines()]
        ports = ("9090", "9093", "9100", "9121", "9177", "9187")
        ours = [socket for socket in local if socket.rpartition(":")[2] in ports]
        assert f"{lab.address(host)}:9100" in ours
        assert [socket for socket in ours if socket.startswith(("0.0.0.0", "*", "[::]"))] == []


def test_what_listens_on_an_address_waits_for_the_network(lab: Lab) -> None:
    databases = lab.hosts("database")
    groups = {
        "ceph_osd": ["prometheus-node-exporter"],
        "virtualization": ["prometheus-libvirt-exporter"],
        "database": ["prometheus-postgres-exporter", "prometheus-redis-exporter", "redis-server"]
        + (["patroni", "redis-sentinel", "etcd"] if len(databases) > 1 else ["postgresql@*"]),
        "monitoring": ["prometheus", "prometheus-alertmanager"],
        "external_haproxy": ["haproxy"],
    }
    for host, unit in {(host, unit) for group, units in groups.items() for host in lab.hosts(group) for unit in units}:
        told = lab.on(host, "systemctl", "show", "--property=After,Wants", f"{unit}.service")
        assert told.count("network-online.target") == 2, (host, unit, told)


def test_a_configuration_that_prometheus_refuses_does_not_land(lab: Lab) -> None:
    host = lab.hosts("monitoring")[0]
    before = lab.on(host, "cat", "/etc/prometheus/prometheus.yml")
    wrong = [{"job_name": "mine", "no_such_setting": 1, "basic_auth": {"username": "a", "password": "planted-secret"}}]
    result = lab.play("playbooks/site.yml", "--tags", "monitoring", "--diff", prometheus_scrape_configs=wrong)
    assert not result.ok
    assert "field no_such_setting not found" in " ".join(result.output.split()), result.output
    assert "planted-secret" not in result.output
    assert lab.on(host, "cat", "/etc/prometheus/prometheus.yml") == before
    assert query(lab, 'prometheus_config_last_reload_successful{job="prometheus"}')[0]["value"][1] == "1"


@pytest.fixture
def guest(lab: Lab) -> Iterator[None]:
    node = lab.hosts("virtualization")[0]
    lab.sql(
        "INSERT INTO virtfleet.vm (id, name, project, node, state, memory_mib, vcpus, disk_gib, image, mac, ip, tags)"
        f" VALUES (gen_random_uuid(), '{GUEST}', 'default', '{node}', 'running', 64, 1, 1, 'none',"
        " '52:54:00:ff:ff:01', '192.0.2.7', '{monitored}')"
    )
    try:
        yield
    finally:
        lab.sql(f"DELETE FROM virtfleet.vm WHERE name = '{GUEST}'")
        assert lab.play("playbooks/monitor_guests.yml").ok


def test_a_guest_with_the_tag_is_a_target(lab: Lab, guest: None) -> None:
    result = lab.play("playbooks/monitor_guests.yml")
    assert result.ok, result.output
    assert lab.play("playbooks/monitor_guests.yml").unchanged
    until(lambda: ("guests", GUEST) in targets(lab), "the guest among the targets")
    assert targets(lab)["guests", GUEST]["scrapeUrl"] == "http://192.0.2.7:9100/metrics"


@pytest.mark.slow
def test_a_host_that_is_down_is_told_to_alertmanager(lab: Lab) -> None:
    host = next(host for host in lab.hosts("ceph_osd") if host not in lab.hosts("virtualization"))
    (watcher,) = lab.hosts("monitoring")
    with lab.refused(host, f"ip saddr {lab.address(watcher)} meta l4proto tcp"):
        deadline = time.monotonic() + 4 * MINUTE
        while ("HostDown", host) not in (alerts := told_alerts(lab)):
            assert time.monotonic() < deadline, alerts
            time.sleep(5)


def told_alerts(lab: Lab) -> set[tuple[str, str]]:
    alerts = ask(lab, "alertmanager/api/v2/alerts", port=9093)
    return {(alert["labels"]["alertname"], alert["labels"].get("instance", "")) for alert in alerts}
