# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that tells what became of many VMs, one line for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def bulk_report(
    claimed: Mapping[str, Any], results: Iterable[Mapping[str, Any]], failed: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """A line for each VM: its node, and what was done with the milliseconds of each action, or what is wrong."""
    by_name = {result["name"]: result for result in results}
    lines = {name: f"{name}: refused: {_error(error)}" for name, error in claimed["refused"].items()}
    for claim in claimed["claims"]:
        name, node = claim["vm"]["name"], claim["node"]["name"]
        if name in failed:
            lines[name] = f"{name} on {node}: FAILED: {_error(failed[name])}"
        elif not claim["needed"]:
            lines[name] = f"{name} on {node}: nothing to do"
        else:
            timings = by_name.get(name, {}).get("timings_ms", {})
            done = ", ".join(f"{action} {milliseconds} ms" for action, milliseconds in timings.items())
            lines[name] = f"{name} on {node}: {done or 'would be made'}"
    return [lines[name] for name in sorted(lines, key=_natural)]


def _natural(name: str) -> tuple[str, int, str]:
    """web-9 before web-10."""
    head, _hyphen, tail = name.rpartition("-")
    return (head, int(tail), "") if tail.isdecimal() else (name, 0, "")


def _error(error: Mapping[str, Any]) -> str:
    problems = "; ".join(error["problems"])
    return error["message"] + (f": {problems}" if problems else "")


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"bulk_report": bulk_report}
