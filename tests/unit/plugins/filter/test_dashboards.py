# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dashboards of Grafana promise, and how a short description becomes one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.virtfleet.cloud.plugins.filter.dashboards import DATASOURCE, grafana_dashboard

ROOT = Path(__file__).resolve().parents[4]
FILES = sorted((ROOT / "roles" / "grafana" / "files" / "dashboards").glob("*.yml"))
JOBS = {
    "node": ("node_", "virtfleet_"),
    "libvirt": ("libvirt_",),
    "postgresql": ("pg_",),
    "redis": ("redis_",),
    "ceph": ("ceph_",),
    "haproxy": ("haproxy_",),
    "patroni": ("patroni_",),
    "etcd": ("etcd_",),
    "awx": ("awx_",),
    "prometheus": ("prometheus_",),
    "alertmanager": ("alertmanager_",),
    "guests": ("node_",),
}
# Prometheus makes them, for every job.
OF_ALL_JOBS = ("up", "scrape_samples_scraped")
SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
WORDS = {"and", "or", "unless", "bool", "offset"}
GROUPINGS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right) \([^)]*\)")

each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def description(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text())


def expressions(file: Path) -> list[str]:
    return [target["expr"] for panel in grafana_dashboard(description(file))["panels"] for target in panel["targets"]]


def of_its_job(name: str, labels: str) -> bool:
    if name == "ALERTS":
        return True
    job = re.match(r'job(!?=)"(\w*)"', labels)
    if not job:
        return False
    operator, value = job.groups()
    if value in JOBS and operator == "=":
        return name.startswith(JOBS[value]) or name in OF_ALL_JOBS
    return (operator, value) == ("!=", "") and name in OF_ALL_JOBS


def test_there_is_one_for_each_part_of_the_cloud() -> None:
    assert [file.stem for file in FILES] == ["awx", "ceph", "cloud", "databases", "node", "proxies", "vm"]


def test_they_cannot_be_taken_for_each_other() -> None:
    for field in ("uid", "title"):
        values = [description(file)[field] for file in FILES]
        assert len(set(values)) == len(values)
    assert [description(file)["uid"] for file in FILES] == [f"virtfleet-{file.stem}" for file in FILES]


@each
def test_a_description_says_nothing_that_is_not_understood(file: Path) -> None:
    dashboard = description(file)
    assert set(dashboard) <= {"uid", "title", "description", "variables", "panels"}
    for panel in dashboard["panels"]:
        known = {"title", "type", "unit", "description", "queries", "width", "height", "min", "max", "stack"}
        assert set(panel) <= known | {"decimals", "thresholds", "values"}, panel["title"]


@each
def test_each_panel_says_what_it_shows(file: Path) -> None:
    panels = grafana_dashboard(description(file))["panels"]
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)
    for panel in panels:
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == DATASOURCE and panel["targets"], panel["title"]
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"]), panel["title"]


@each
def test_no_query_is_lost(file: Path) -> None:
    wanted = [len(panel["queries"]) for panel in description(file)["panels"]]
    assert [len(panel["targets"]) for panel in grafana_dashboard(description(file))["panels"]] == wanted


@each
def test_each_metric_of_a_query_is_asked_of_its_job(file: Path) -> None:
    for expression in expressions(file):
        found = SELECTOR.findall(expression)
        assert found, expression
        assert [name for name, labels in found if not of_its_job(name, labels)] == [], expression
        rest = GROUPINGS.sub("", SELECTOR.sub("", re.sub(r"\[[^\]]*\]", "", expression)))
        names = re.findall(r"\b([a-zA-Z_]\w*)\b(?!\s*\()", re.sub(r'"[^"]*"', "", rest))
        assert set(names) <= WORDS, expression


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("node_load1", 'instance="$node"'),
        ("node_load1", 'job="nodes"'),
        ("node_load1", 'job="ceph"'),
        ("node_load1", 'job!=""'),
        ("load1", 'job="node"'),
    ],
)
def test_a_metric_of_no_job_or_a_wrong_one_is_noticed(name: str, labels: str) -> None:
    assert not of_its_job(name, labels)


@each
def test_each_variable_is_used_and_each_that_is_used_is_there(file: Path) -> None:
    dashboard = grafana_dashboard(description(file))
    there = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = {name for text in expressions(file) for name in re.findall(r"\$(\w+)", text)} - {"__rate_interval"}
    assert there == used
    for variable in dashboard["templating"]["list"]:
        assert re.fullmatch(r'label_values\(\w+\{job="\w+"\}, \w+\)', variable["query"]["query"])


@each
def test_panels_do_not_overlap(file: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in grafana_dashboard(description(file))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


ONE_OF_EACH_KIND: dict[str, Any] = {
    "uid": "u",
    "title": "T",
    "description": "D.",
    "panels": [
        {
            "title": "now",
            "type": "stat",
            "unit": "s",
            "description": "N.",
            "thresholds": {"green": None, "red": 3},
            "values": {0: "none"},
            "queries": {"x": 'up{job="node"}\n'},
        },
        {"title": "list", "type": "table", "unit": "s", "description": "L.", "queries": {"x": "1"}},
        {
            "title": "line",
            "unit": "s",
            "min": 0,
            "stack": True,
            "description": "G.",
            "queries": {"a": "1", "b": "2"},
        },
    ],
}


def test_a_panel_of_each_kind() -> None:
    dashboard = grafana_dashboard(ONE_OF_EACH_KIND)
    now, table, line = dashboard["panels"]
    assert [panel["gridPos"] for panel in dashboard["panels"]] == [
        {"x": 0, "y": 0, "w": 4, "h": 4},
        {"x": 4, "y": 0, "w": 12, "h": 8},
        {"x": 0, "y": 8, "w": 12, "h": 8},
    ]
    assert now["targets"] == [
        {
            "refId": "A",
            "datasource": DATASOURCE,
            "expr": 'up{job="node"}',
            "legendFormat": "x",
            "instant": True,
            "range": False,
            "format": "time_series",
        }
    ]
    steps = now["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps == [{"color": "green", "value": None}, {"color": "red", "value": 3}]
    assert now["fieldConfig"]["defaults"]["mappings"] == [
        {"type": "value", "options": {"0": {"text": "none", "index": 0}}}
    ]
    assert table["targets"][0]["format"] == "table"
    assert [target["refId"] for target in line["targets"]] == ["A", "B"] and "instant" not in line["targets"][0]
    defaults = line["fieldConfig"]["defaults"]
    assert defaults["min"] == 0 and defaults["custom"]["stacking"] == {"mode": "normal"}
