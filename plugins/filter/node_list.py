# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that show nodes and projects as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..plugin_utils.table import table

NODE_COLUMNS = ("Node", "State", "VMs", "CPU", "RAM", "Seen", "Labels")
PROJECT_COLUMNS = ("Project", "VMs", "CPU", "RAM", "Disk")


def node_table(nodes: Iterable[Mapping[str, Any]]) -> str:
    """The nodes, with what is used of what is given out; RAM in MiB."""
    return table(NODE_COLUMNS, [_node(node) for node in nodes])


def _node(node: Mapping[str, Any]) -> dict[str, str]:
    vcpus = int(node["vcpus"] * node["cpu_overcommit"])
    memory = int(node["memory_mib"] * node["memory_overcommit"])
    return {
        "Node": node["name"],
        "State": node["state"],
        "VMs": str(node["vms"]),
        "CPU": f"{node['used_vcpus']} of {vcpus}",
        "RAM": f"{node['used_memory_mib']} of {memory}",
        "Seen": node["seen_at"] or "-",
        "Labels": " ".join(f"{label}={value}" for label, value in sorted(node["labels"].items())),
    }


def project_table(projects: Iterable[Mapping[str, Any]]) -> str:
    """The projects, with what they use of their quotas; RAM in MiB, disks in GiB."""
    fields = {"VMs": "vms", "CPU": "vcpus", "RAM": "memory_mib", "Disk": "disk_gib"}
    rows = [
        {"Project": project["name"]}
        | {column: _used(project["used"][field], project["quota"][field]) for column, field in fields.items()}
        for project in projects
    ]
    return table(PROJECT_COLUMNS, rows)


def _used(used: int, quota: int | None) -> str:
    return str(used) if quota is None else f"{used} of {quota}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"node_table": node_table, "project_table": project_table}
