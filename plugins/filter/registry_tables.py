# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that show nodes, projects, subnets, and backups of the registry as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..plugin_utils.table import table

NODE_COLUMNS = ("Node", "State", "VMs", "CPU", "RAM", "Seen", "Labels")
SUBNET_COLUMNS = ("Subnet", "Network", "Connected", "Gateway", "From", "To", "Used")
BACKUP_COLUMNS = ("Backup", "Taken", "Bytes")
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


def subnet_table(subnets: Iterable[Mapping[str, Any]]) -> str:
    """The subnets, with what interfaces in them are connected to and how many addresses are used."""
    return table(SUBNET_COLUMNS, [_subnet(subnet) for subnet in subnets])


def _subnet(subnet: Mapping[str, Any]) -> dict[str, str]:
    link = next((f"{kind} {subnet[kind]}" for kind in ("bridge", "network") if kind in subnet), "-")
    return {
        "Subnet": subnet["name"],
        "Network": subnet["cidr"],
        "Connected": f"{link} vlan {subnet['vlan']}" if "vlan" in subnet else link,
        "Gateway": subnet.get("gateway", "-"),
        "From": subnet["first"],
        "To": subnet["last"],
        "Used": str(subnet["used"]),
    }


def registry_backups(files: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What module find told of the backups of the registry: name, taken_at and size_bytes, the oldest first."""
    backups = [
        {
            "name": file["path"].rpartition("/")[2],
            "taken_at": datetime.fromtimestamp(file["mtime"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "size_bytes": file["size"],
        }
        for file in files
    ]
    return sorted(backups, key=lambda backup: str(backup["name"]))


def registry_backup_table(files: Iterable[Mapping[str, Any]]) -> str:
    """The backups of the registry that module find told of, the oldest first."""
    fields = dict(zip(BACKUP_COLUMNS, ("name", "taken_at", "size_bytes"), strict=True))
    rows = [{column: str(backup[field]) for column, field in fields.items()} for backup in registry_backups(files)]
    return table(BACKUP_COLUMNS, rows) if rows else "There are none."


def _used(used: int, quota: int | None) -> str:
    return str(used) if quota is None else f"{used} of {quota}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {
            "node_table": node_table,
            "project_table": project_table,
            "subnet_table": subnet_table,
            "registry_backups": registry_backups,
            "registry_backup_table": registry_backup_table,
        }
