# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that makes a dashboard of Grafana from a short description.

What a description can say is in roles/grafana/README.md; the format that comes out is
U(https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "virtfleet-prometheus"}
TAG = "virtfleet"
COLUMNS = 24
# Width and height where a panel says nothing else.
SIZES = {"stat": (4, 4), "table": (12, 8), "timeseries": (12, 8)}


def grafana_dashboard(description: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON model of a dashboard, as data."""
    return {
        "uid": description["uid"],
        "title": description["title"],
        "description": description["description"],
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {"type": "dashboards", "title": "virtfleet.cloud", "tags": [TAG], "asDropdown": True, "keepTime": True}
        ],
        "templating": {"list": [_variable(*pair) for pair in description.get("variables", {}).items()]},
        "panels": list(_panels(description["panels"])),
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        # Again whenever the time range changes: what was deleted since then is shown for its time.
        "refresh": 2,
        "sort": 1,
    }


def _panels(panels: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Panels from left to right, and the next line where one does not fit any more."""
    left = top = line = 0
    for number, panel in enumerate(panels, 1):
        kind = panel.get("type", "timeseries")
        width, height = panel.get("width", SIZES[kind][0]), panel.get("height", SIZES[kind][1])
        if left + width > COLUMNS:
            left, top, line = 0, top + line, 0
        yield {
            "id": number,
            "type": kind,
            "title": panel["title"],
            "description": panel["description"],
            "datasource": DATASOURCE,
            "gridPos": {"x": left, "y": top, "w": width, "h": height},
            "targets": [_target(kind, *query) for query in zip("ABCDEFGH", panel["queries"].items(), strict=False)],
            "fieldConfig": {"defaults": _field(kind, panel), "overrides": []},
            **_LOOKS[kind],
        }
        left, line = left + width, max(line, height)


def _target(kind: str, letter: str, query: tuple[str, str]) -> dict[str, Any]:
    legend, expression = query
    target = {"refId": letter, "datasource": DATASOURCE, "expr": " ".join(expression.split()), "legendFormat": legend}
    if kind == "timeseries":
        return target
    return target | {"instant": True, "range": False, "format": "table" if kind == "table" else "time_series"}


def _field(kind: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    field: dict[str, Any] = {"unit": panel["unit"]}
    for limit in ("min", "max", "decimals"):
        if limit in panel:
            field[limit] = panel[limit]
    if kind == "timeseries":
        stacking = {"mode": "normal" if panel.get("stack") else "none"}
        field["custom"] = {"fillOpacity": 40 if panel.get("stack") else 5, "showPoints": "never", "stacking": stacking}
    if "thresholds" in panel:
        field["color"] = {"mode": "thresholds"}
        # JSON has no minus infinity: the first step is null, and holds from there on.
        steps = [{"color": color, "value": value} for color, value in panel["thresholds"].items()]
        field["thresholds"] = {"mode": "absolute", "steps": steps}
    if "values" in panel:
        texts = {
            str(value): {"text": text, "index": index} for index, (value, text) in enumerate(panel["values"].items())
        }
        field["mappings"] = [{"type": "value", "options": texts}]
    return field


_LOOKS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    },
    "stat": {
        "options": {
            "colorMode": "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    },
    "table": {
        "options": {"showHeader": True, "cellHeight": "sm"},
        # Several queries are columns of one table; what each row would have in common is left out.
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True, "job": True}}},
        ],
    },
}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"grafana_dashboard": grafana_dashboard}
