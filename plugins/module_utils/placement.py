# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node a new VM is put on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import VirtfleetError
from .spec import VmSpec

VCPU_OVERCOMMIT = 8


def place(spec: VmSpec, nodes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The node with the most free memory, then virtual CPUs, among those that have room.

    Args:
        nodes: name, state, vcpus, memory_mib, and what is used of them: used_vcpus, used_memory_mib.

    Raises:
        VirtfleetError: no_capacity, with the reason for each node.
    """
    fitting, reasons = [], []
    for node in nodes:
        memory = node["memory_mib"] - node["used_memory_mib"]
        vcpus = node["vcpus"] * VCPU_OVERCOMMIT - node["used_vcpus"]
        if spec.node not in (None, node["name"]):
            reasons.append(f"{node['name']}: node {spec.node} was asked for")
        elif node["state"] != "active":
            reasons.append(f"{node['name']}: {node['state']}")
        elif memory < spec.memory_mib:
            reasons.append(f"{node['name']}: {memory} MiB of memory free, {spec.memory_mib} needed")
        elif vcpus < spec.vcpus:
            reasons.append(f"{node['name']}: {vcpus} virtual CPUs free, {spec.vcpus} needed")
        else:
            fitting.append((memory, vcpus, node))
    if not fitting:
        raise VirtfleetError(
            "no_capacity", f"No node has room for {spec.name}", "Make it smaller, or free some room.", reasons
        )
    return max(fitting, key=lambda entry: entry[:2])[2]


def refuse_without_room(row: Mapping[str, Any], spec: VmSpec, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to let a VM grow beyond what its node has; one that shrinks always fits.

    Args:
        row: the VM as it is (node, memory_mib, vcpus), which counts as used.

    Raises:
        VirtfleetError: no_capacity.
    """
    node = next(node for node in nodes if node["name"] == row["node"])
    memory = node["memory_mib"] - node["used_memory_mib"] + row["memory_mib"]
    vcpus = node["vcpus"] * VCPU_OVERCOMMIT - node["used_vcpus"] + row["vcpus"]
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
