# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What the dashboard of AWX reads is what an AWX of yours tells.

VIRTFLEET_AWX_URL=... VIRTFLEET_AWX_TOKEN=... pytest tests/awx/test_metrics.py
"""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path

import pytest

DASHBOARD = Path(__file__).resolve().parents[2] / "roles" / "grafana" / "files" / "dashboards" / "awx.yml"
SETTINGS = ("VIRTFLEET_AWX_URL", "VIRTFLEET_AWX_TOKEN")
missing = [name for name in SETTINGS if not os.environ.get(name)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"no AWX to test against: set {', '.join(missing)}")


def labels(text: str) -> set[str]:
    """Those that must have one value, as Prometheus writes them."""
    return set(re.findall(r'\w+="[^"]*"', text))


def test_each_metric_of_the_dashboard_is_told() -> None:
    request = urllib.request.Request(
        os.environ["VIRTFLEET_AWX_URL"] + "/api/v2/metrics/",
        headers={"Authorization": f"Bearer {os.environ['VIRTFLEET_AWX_TOKEN']}", "Accept": "text/plain"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = re.findall(r"^(\w+)(?:\{(.*)\})? ", answer.read().decode(), re.MULTILINE)
    read = re.findall(r'(awx_\w+)\{job="awx",?([^}]*)\}', DASHBOARD.read_text())
    assert len(read) > 10
    there = [(name, labels(text)) for name, text in told]
    lacking = [
        (name, text) for name, text in read if not any(name == one and labels(text) <= has for one, has in there)
    ]
    assert lacking == []
