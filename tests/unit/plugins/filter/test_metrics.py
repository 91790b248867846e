# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is told of the VMs: every series is always there, so that what is over goes back to 0."""

from __future__ import annotations

from ansible_collections.virtfleet.cloud.plugins.filter.metrics import findings_metrics, guest_metrics, summary_metrics
from ansible_collections.virtfleet.cloud.plugins.module_utils.reconcile_plan import KINDS


def test_the_vms_by_state() -> None:
    text = summary_metrics({"states": {"running": 3, "creating": 1}, "half_made_seconds": 90}, ["n2"], 1764000000.4)
    lines = text.splitlines()
    assert text.endswith("\n") and "# TYPE virtfleet_vms gauge" in lines
    for line in (
        'virtfleet_vms{state="running"} 3',
        'virtfleet_vms{state="creating"} 1',
        'virtfleet_vms{state="stopped"} 0',
        "virtfleet_vms_half_made_oldest_seconds 90",
        "virtfleet_refresh_silent_nodes 1",
        "virtfleet_refresh_timestamp_seconds 1764000000",
    ):
        assert line in lines


def test_the_findings_by_kind() -> None:
    found = [{"kind": "wrong_state", "name": name} for name in ("a", "b")]
    lines = findings_metrics(found, [], 7).splitlines()
    assert 'virtfleet_reconcile_findings{kind="wrong_state"} 2' in lines
    series = [line for line in lines if line.startswith("virtfleet_reconcile_findings{")]
    assert len(series) == len(KINDS) + 1 and sum(line.endswith(" 0") for line in series) == len(KINDS)
    assert "virtfleet_reconcile_timestamp_seconds 7" in lines and "virtfleet_reconcile_silent_nodes 0" in lines


def test_the_guests_that_are_watched_are_those_with_an_address() -> None:
    lines = guest_metrics([{"ip": "10.0.0.7"}, {"ip": None}], 7).splitlines()
    assert "virtfleet_watched_guests 1" in lines and "virtfleet_guests_timestamp_seconds 7" in lines
