# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node a VM is put on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import VirtfleetError
from .spec import VmSpec

# Better nodes have larger keys, made of free memory, free virtual CPUs and the node; of equal ones it is the first.
_STRATEGIES: dict[str, Callable[[int, int, Mapping[str, Any]], tuple[float, ...]]] = {
    "least_loaded": lambda memory, vcpus, node: (memory, vcpus),
    "packed": lambda memory, vcpus, node: (-memory, -vcpus),
    "round_robin": lambda memory, vcpus, node: (-node["placed_at"],),
}


def place(spec: VmSpec, nodes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The best node by the VM's strategy among those that have room and are as it asks.

    Args:
        nodes: as registry_nodes.with_use reads them, with the VMs of its anti-affinity group counted.

    Raises:
        VirtfleetError: no_capacity, with the reason for each node.
    """
    fitting, reasons = [], []
    for node in nodes:
        memory, vcpus = free_memory(node), free_vcpus(node)
        reason = _hindrance(spec, node, memory, vcpus)
        if reason is None:
            best = _STRATEGIES[spec.placement.strategy](memory, vcpus, node)
            fitting.append(((-node["group_vms"], *best), node))
        else:
            reasons.append(f"{node['name']}: {reason}")
    if not fitting:
        raise VirtfleetError(
            "no_capacity", f"No node has room for {spec.name}", "Make it smaller, or free some room.", reasons
        )
    return max(fitting, key=lambda entry: entry[0])[1]


def free_memory(node: Mapping[str, Any]) -> int:
    """What of the memory that is given out is left, in MiB."""
    return int(node["memory_mib"] * node["memory_overcommit"]) - int(node["used_memory_mib"])


def free_vcpus(node: Mapping[str, Any]) -> int:
    """How many of the virtual CPUs that are given out are left."""
    return int(node["vcpus"] * node["cpu_overcommit"]) - int(node["used_vcpus"])


def _hindrance(spec: VmSpec, node: Mapping[str, Any], memory: int, vcpus: int) -> str | None:
    """Why the VM cannot go to this node, or None."""
    wish = spec.placement
    if spec.node not in (None, node["name"]):
        return f"node {spec.node} was asked for"
    if node["state"] != "active":
        return str(node["state"])
    missing = [f"{label}={value}" for label, value in wish.labels if node["labels"].get(label) != value]
    if missing:
        return f"has not the labels {', '.join(missing)}"
    if wish.group is not None and wish.hard and node["group_vms"]:
        return f"has a VM of group {wish.group}"
    if memory < spec.memory_mib:
        return f"{memory} MiB of memory free, {spec.memory_mib} needed"
    if vcpus < spec.vcpus:
        return f"{vcpus} virtual CPUs free, {spec.vcpus} needed"
    return None


def refuse_without_room(row: Mapping[str, Any], spec: VmSpec, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to let a VM grow beyond what its node has; one that shrinks always fits.

    Args:
        row: the VM as it is (node, memory_mib, vcpus), which counts as used.

    Raises:
        VirtfleetError: no_capacity.
    """
    node = next(node for node in nodes if node["name"] == row["node"])
    memory = free_memory(node) + row["memory_mib"]
    vcpus = free_vcpus(node) + row["vcpus"]
    reasons = []
    if spec.memory_mib > max(memory, row["memory_mib"]):
        reasons.append(f"{memory} MiB of memory for it, {spec.memory_mib} needed")
    if spec.vcpus > max(vcpus, row["vcpus"]):
        reasons.append(f"{vcpus} virtual CPUs for it, {spec.vcpus} needed")
    if reasons:
        raise VirtfleetError(
            "no_capacity",
            f"Node {node['name']} has no room for {spec.name} to grow",
            "Move it to another node, or free some room.",
            reasons,
        )
