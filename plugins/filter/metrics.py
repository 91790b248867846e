# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that write what is known of the VMs as metrics of Prometheus.

The format is U(https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from ..module_utils.reconcile_plan import KINDS

# Each is always written, so that what is over goes back to 0.
STATES = ("creating", "running", "migrating", "stopped", "suspended", "deleting", "error")


def summary_metrics(summary: Mapping[str, Any], silent: Collection[str], at: float) -> str:
    """The VMs by their states.

    Args:
        summary: as vm_registry_info with C(summary) returns it.
        silent: the nodes that did not answer.
        at: when that was, in seconds since 1970.
    """
    states = {state: summary["states"].get(state, 0) for state in STATES}
    return _text(
        [
            *_metric("virtfleet_vms", "Virtual machines by their state in the registry.", "state", states),
            *_metric(
                "virtfleet_vms_half_made_oldest_seconds",
                "For how long one at most is half-made without anybody working on it.",
                values={"": summary["half_made_seconds"]},
            ),
            *_silent("refresh", silent),
            *_time("refresh", at),
        ]
    )


def findings_metrics(findings: Iterable[Mapping[str, str]], silent: Collection[str], at: float) -> str:
    """How often reconcile found what.

    Args:
        findings: as vm_registry_reconcile and virt_rbd_orphans return them.
        silent: the nodes that did not answer.
        at: when that was, in seconds since 1970.
    """
    found = Counter(finding["kind"] for finding in findings)
    kinds = {kind: found[kind] for kind in (*KINDS, "orphaned_volume")}
    return _text(
        [
            *_metric("virtfleet_reconcile_findings", "What differs from the registry.", "kind", kinds),
            *_silent("reconcile", silent),
            *_time("reconcile", at),
        ]
    )


def guest_metrics(vms: Iterable[Mapping[str, Any]], at: float) -> str:
    """How many VMs Prometheus is told to watch.

    Args:
        vms: as vm_registry_info returns them; one without an address cannot be watched.
        at: when that was, in seconds since 1970.
    """
    watched = sum(bool(vm["ip"]) for vm in vms)
    return _text(
        [
            *_metric("virtfleet_watched_guests", "Virtual machines that Prometheus watches.", values={"": watched}),
            *_time("guests", at),
        ]
    )


def _silent(what: str, silent: Collection[str]) -> Iterator[str]:
    return _metric(f"virtfleet_{what}_silent_nodes", "Nodes that did not answer.", values={"": len(silent)})


def _time(what: str, at: float) -> Iterator[str]:
    return _metric(f"virtfleet_{what}_timestamp_seconds", "When this was written.", values={"": round(at)})


def _metric(name: str, about: str, label: str = "", values: Mapping[str, int] | None = None) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} gauge"
    for key, value in (values or {}).items():
        yield f'{name}{{{label}="{key}"}} {value}' if label else f"{name} {value}"


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {
            "summary_metrics": summary_metrics,
            "findings_metrics": findings_metrics,
            "guest_metrics": guest_metrics,
        }
