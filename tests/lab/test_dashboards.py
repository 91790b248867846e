# SPDX-License-Identifier: GPL-3.0-or-later
"""Each query of each panel returns data from the lab's Prometheus, by the dashboards that Grafana is given there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from .conftest import Lab, Result, run_job, until

NAME = "dashboard-vm"
DIRECTORY = "/etc/grafana/provisioning/dashboards"
FILES = ("awx", "ceph", "cloud", "databases", "node", "proxies", "vm")
# Series of these are there only while something is wrong.
OF_TROUBLE = {"ALERTS", "ceph_health_detail"}
SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})")
# Runs on the monitoring host: many questions by one command.
ASK = """
import json, sys, urllib.error, urllib.parse, urllib.request
work = json.load(sys.stdin)
for path, parameters in work["questions"]:
    url = work["base"] + path + "?" + urllib.parse.urlencode(parameters, doseq=True)
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            print(json.dumps(json.load(answer)["data"]))
    except urllib.error.HTTPError as error:
        print(json.dumps({"error": error.read().decode()}))
"""


class Prometheus:
    """The lab's."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host = lab, lab.hosts("monitoring")[0]
        self.base = f"https://{lab.address(self.host)}:9090/prometheus/api/v1/"

    def ask(self, questions: list[tuple[str, dict[str, str]]]) -> list[Any]:
        work = json.dumps({"base": self.base, "questions": questions})
        return [json.loads(line) for line in self.lab.python(self.host, ASK, stdin=work).splitlines()]

    def missing(self, queries: list[str]) -> dict[str, str]:
        """The queries without data, and why."""
        answers = self.ask([("query", {"query": query}) for query in queries])
        return {query: lack for query, answer in zip(queries, answers, strict=True) if (lack := lack_of(answer))}

    def jobs(self) -> set[str]:
        (answer,) = self.ask([("query", {"query": "count by (job) (up)"})])
        return {series["metric"]["job"] for series in answer["result"]}

    def values(self, variable: str) -> list[str]:
        """Of label_values(SELECTOR, LABEL), as Grafana fills its variables."""
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable)
        assert found, variable
        (answer,) = self.ask([(f"label/{found[2]}/values", {"match[]": found[1]})])
        return list(answer)


def impossible(lab: Lab) -> set[str]:
    """Jobs that the lab has no target of."""
    without_awx = set() if lab.hosts("awx") else {"awx"}
    without_cluster = {"patroni", "etcd"} if len(lab.hosts("database")) == 1 else set()
    return without_awx | without_cluster


def lack_of(answer: Any) -> str:
    if "error" in answer:
        return str(answer["error"])
    values = [series["value"][1] for series in answer["result"]]
    if not values:
        return "no data"
    return "" if set(values) != {"NaN"} else "not a number"


def provisioned(lab: Lab) -> list[dict[str, Any]]:
    host = lab.hosts("monitoring")[0]
    return [json.loads(lab.on(host, "cat", f"{DIRECTORY}/{name}.json")) for name in FILES]


def queries(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def jobs_of(query: str) -> set[str]:
    return set(re.findall(r'job="(\w+)"', query))


def filled(query: str, variables: dict[str, list[str]]) -> list[str]:
    """The query with all values of its variables in turn; a host that is no node has no data on VMs."""
    used = [name for name in variables if f"${name}" in query]
    texts = []
    for values in product(*(variables[name] for name in used)):
        text = query.replace("$__rate_interval", "1m")
        for name, value in zip(used, values, strict=True):
            text = text.replace(f"${name}", value)
        texts.append(text)
    return texts


def parts(query: str) -> list[str]:
    """Each metric of the query alone: what is added to another, or replaced by 0, must be there itself."""
    return [name + labels for name, labels in SELECTOR.findall(query) if name not in OF_TROUBLE]


@pytest.fixture(scope="module")
def watched(lab: Lab) -> Iterator[Prometheus]:
    """A VM that runs, and what the manager and the database tell of their work."""
    made = lab.play("playbooks/create_vm.yml", name=NAME, node=lab.hosts("virtualization")[0], ram=64, disk=5)
    assert made.ok, made.output
    try:
        for job in ("refresh", "reconcile"):
            run_job(lab, job)
        for host in lab.hosts("database"):
            lab.on(host, "systemctl", "start", "virtfleet-registry-backup.service")
        # The guest has no exporter, and no address that is reached from elsewhere: the monitoring host answers for it.
        address = lab.address(lab.hosts("monitoring")[0])
        lab.sql(f"UPDATE virtfleet.vm SET ip = '{address}', tags = '{{monitored}}' WHERE name = '{NAME}'")
        assert lab.play("playbooks/monitor_guests.yml").ok
        prometheus = Prometheus(lab)
        until(lambda: "guests" in prometheus.jobs(), "the guest among the targets")
        yield prometheus
    finally:
        lab.play("playbooks/delete_vm.yml", name=NAME, purge=True, force=True)
        lab.play("playbooks/monitor_guests.yml")


def test_every_query_of_every_panel_returns_data(lab: Lab, watched: Prometheus) -> None:
    dashboards = provisioned(lab)
    jobs = watched.jobs()
    left_out = [
        (dashboard["title"], panel["title"], sorted(lacking))
        for dashboard in dashboards
        for panel in dashboard["panels"]
        if (lacking := {job for target in panel["targets"] for job in jobs_of(target["expr"])} - jobs)
    ]
    for title, panel, names in left_out:
        print(f"{title}, {panel}: not run, as this lab has no target of job {', '.join(names)}")
    assert {job for _title, _panel, names in left_out for job in names} <= impossible(lab), left_out

    # VMs are seen with the next scrape, and rates with the one after that.
    deadline = time.monotonic() + 90
    while problems := lacks(watched, dashboards, jobs):
        assert time.monotonic() < deadline, problems
        time.sleep(5)
    run = sum(jobs_of(query) <= jobs for dashboard in dashboards for query in queries(dashboard))
    print(f"{run} queries returned data")
    assert run > 100


def lacks(prometheus: Prometheus, dashboards: list[dict[str, Any]], jobs: set[str]) -> dict[str, str]:
    """The queries that lack data whatever their variables are."""
    ways: dict[str, list[str]] = {}
    for dashboard in dashboards:
        listed = dashboard["templating"]["list"]
        variables = {variable["name"]: prometheus.values(variable["query"]["query"]) for variable in listed}
        for query in queries(dashboard):
            if jobs_of(query) <= jobs:
                ways |= {text: filled(text, variables) for text in (query, *parts(query))}
    missing = prometheus.missing([text for texts in ways.values() for text in texts])
    return {
        query: missing.get(texts[0], "no value for its variable") if texts else "no value for its variable"
        for query, texts in ways.items()
        if all(text in missing for text in texts)
    }


def test_a_metric_that_is_not_there_is_noticed(lab: Lab, watched: Prometheus) -> None:
    expression = 'sum(node_load_of_nobody{job="node", instance="$node"}) or vector(0)'
    dashboard = {
        "templating": {"list": [{"name": "node", "query": {"query": 'label_values(up{job="node"}, instance)'}}]},
        "panels": [{"targets": [{"expr": expression}, {"expr": 'up{job="node"}'}]}],
    }
    assert list(lacks(watched, [dashboard], {"node"})) == ['node_load_of_nobody{job="node", instance="$node"}']


@pytest.fixture
def without_grafana(lab: Lab) -> None:
    if lab.has_grafana():
        pytest.skip("Grafana is installed in this lab")


def play_grafana(lab: Lab, install: str) -> Result:
    """With a repository where nobody listens."""
    nowhere = "http://127.0.0.1:9/key"
    return lab.play(
        "playbooks/site.yml", "--tags", "grafana", grafana_install=install, grafana_repository_key_url=nowhere
    )


@pytest.mark.slow
def test_where_its_package_cannot_be_had_the_rest_goes_on(lab: Lab, without_grafana: None) -> None:
    run = play_grafana(lab, "auto")
    assert run.ok and run.unchanged, run.output
    said = " ".join(run.output.split())
    assert "WARNING: Grafana is not installed" in said and "Set grafana_repository" in said, run.output


@pytest.mark.slow
def test_it_is_an_error_where_grafana_is_wanted(lab: Lab, without_grafana: None) -> None:
    run = play_grafana(lab, "true")
    assert not run.ok and "Refuse to go on without Grafana" in run.output, run.output
