# SPDX-License-Identifier: GPL-3.0-or-later
"""What alerts promise: a page that says what to do, and a test that sees each fire and be silent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "roles" / "prometheus"
RULES = PROMETHEUS / "files" / "rules"
RUNBOOKS = ROOT / "docs" / "runbooks"
TESTS = ROOT / "tests" / "monitoring"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(RULES.glob("*.yml")):
        for group in read(file)["groups"]:
            yield from ((file.stem, rule) for rule in group["rules"])


ALERTS = [(file, rule) for file, rule in rules() if "alert" in rule]
each_alert = pytest.mark.parametrize("file, rule", ALERTS, ids=[rule["alert"] for _group, rule in ALERTS])


def test_every_file_of_rules_is_installed() -> None:
    installed = read(PROMETHEUS / "vars" / "main.yml")["__prometheus_rules"]
    assert sorted(installed) == [file.stem for file in sorted(RULES.glob("*.yml"))]


def test_the_template_finds_where_the_rules_begin() -> None:
    assert [file.name for file in RULES.glob("*.yml") if not file.read_text().startswith("---\ngroups:\n")] == []


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for _group, rule in ALERTS]
    assert sorted(names) == sorted(set(names))


@each_alert
def test_an_alert_says_how_bad_it_is_and_what_to_do(file: str, rule: dict[str, Any]) -> None:
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "runbook_url"}
    page = rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS/")
    title = (RUNBOOKS / page).read_text().splitlines()[0]
    assert rule["alert"] in title.removeprefix("# ").split(" and ")


@each_alert
def test_an_alert_is_seen_to_fire_and_to_be_silent(file: str, rule: dict[str, Any]) -> None:
    seen = [
        bool(alert["exp_alerts"])
        for test in read(TESTS / f"{file}.yml")["tests"]
        for alert in test["alert_rule_test"]
        if alert["alertname"] == rule["alert"]
    ]
    assert True in seen and False in seen


def test_every_page_is_of_an_alert() -> None:
    named = {rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS/") for _group, rule in ALERTS}
    assert {page.name for page in RUNBOOKS.glob("*.md")} == named


def test_every_alert_is_in_the_document() -> None:
    table = re.findall(
        r"^\| \[(\w+)\]\(runbooks/([\w-]+\.md)\) \|", (ROOT / "docs" / "monitoring.md").read_text(), re.M
    )
    pages = {rule["alert"]: rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS/") for _group, rule in ALERTS}
    assert dict(table) == pages


def test_alerts_begin_at_limits_that_there_are() -> None:
    used = {name for _group, rule in ALERTS for name in re.findall(r'virtfleet:limit\{of="(\w+)"\}', rule["expr"])}
    assert used == set(read(PROMETHEUS / "vars" / "main.yml")["__prometheus_limits"])


def test_a_job_asks_at_the_port_that_the_role_opens() -> None:
    ports = {job["name"]: job["port"] for job in read(PROMETHEUS / "vars" / "main.yml")["__prometheus_jobs"]}
    listen = re.compile(r"--web\.listen-address={{ (?:exporters|prometheus)_address }}:(\d+)")
    opened = {name: listen.findall(text) for name, text in services()}
    assert opened == {name: [str(ports[name])] for name in opened}


def services() -> Iterator[tuple[str, str]]:
    """How what a job asks is started."""
    own = read(PROMETHEUS / "vars" / "main.yml")["__prometheus_services"]
    yield from {"prometheus": own["prometheus"], "alertmanager": own["prometheus-alertmanager"]}.items()
    for template in (ROOT / "roles" / "exporters" / "templates").glob("*.j2"):
        if template.stem != "network.conf":
            yield {"postgres": "postgresql"}.get(template.stem, template.stem), template.read_text()


def test_the_firewall_lets_monitoring_hosts_to_the_port_of_every_job() -> None:
    table = read(ROOT / "roles" / "firewall" / "vars" / "main.yml")["__firewall_services"]
    let_in = {port for service in table if "monitoring" in service.get("from", []) for port in service["tcp"]}
    jobs = read(PROMETHEUS / "vars" / "main.yml")["__prometheus_jobs"]
    assert [job["name"] for job in jobs if "variable" not in job and job["port"] not in let_in] == []


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_etcd_is_asked_on_the_hosts_that_its_role_has_it_on(count: int) -> None:
    environment = NativeEnvironment()
    environment.filters["ternary"] = lambda value, yes, no: yes if value else no
    known: dict[str, Any] = {"groups": {"database": ["a", "b", "c", "d", "e"][:count]}}
    mine = read(PROMETHEUS / "vars" / "main.yml")
    for name in ("__prometheus_databases", "__prometheus_replicated", "__prometheus_etcd"):
        known[name] = environment.from_string(mine[name]).render(known)
    members = read(ROOT / "roles" / "etcd" / "defaults" / "main.yml")["etcd_hosts"]
    assert known["__prometheus_etcd"] == environment.from_string(members).render(known)
    (job,) = (job for job in mine["__prometheus_jobs"] if job["name"] == "etcd")
    assert job["hosts"] == "{{ __prometheus_etcd }}"


def test_alerts_ask_for_jobs_that_there_are() -> None:
    jobs = {job["name"] for job in read(PROMETHEUS / "vars" / "main.yml")["__prometheus_jobs"]} | {"guests"}
    used = {name for _group, rule in rules() for name in re.findall(r'job="(\w+)"', rule["expr"])}
    assert used <= jobs


def test_rules_read_nothing_that_a_guest_could_say() -> None:
    no_metric = re.compile(r'"[^"]*"|\b(?:by|on|group_left) \([^)]*\)|\blabel_replace\b')
    metric = re.compile(r"(?<![:\w])(up|[a-z]+_\w+)(?!\w)(\{job(?:=|!~))?")
    found = [name for _group, rule in rules() for name in metric.findall(no_metric.sub("", rule["expr"]))]
    assert len(found) > len(ALERTS) and [name for name, job in found if not job] == []
