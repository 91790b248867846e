# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node and the pool know of a VM: everything that a registry that was lost is rebuilt from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from .ceph import Ceph
from .domain_xml import NodeConfig, data_disks, hardware, nics, owned_metadata
from .hypervisor import Hypervisor
from .nic import Nic
from .plan_types import GIB, VolumeFacts

_AT_ONCE = 16


def details(names: list[str], node: NodeConfig, ceph: Ceph, hypervisor: Hypervisor) -> dict[str, dict[str, Any]]:
    """Of each of these domains of ours, by name.

    Returns:
        For each: project, image, memory_mib, memory_max_mib, vcpus, vcpus_max, networks, disk_gib (None without a root
        volume), parent of the root volume, disks that are attached, owner and moving_to as the pool says, and record as
        it is kept with the root volume, or None.
    """
    definitions = {name: hypervisor.definition(name) for name in names}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda name: _details(name, definitions[name], node, ceph), names)
        return dict(zip(names, found, strict=True))


def _details(name: str, xml: str, node: NodeConfig, ceph: Ceph) -> dict[str, Any]:
    owned, size = owned_metadata(xml), hardware(xml)
    root = ceph.volume(f"{name}.root")
    ownership = ceph.ownership(owned.id) if owned else None
    return {
        "project": owned.project if owned else "",
        "image": owned.image if owned else "",
        "memory_mib": size.memory_mib,
        "memory_max_mib": size.memory_max_mib,
        "vcpus": size.vcpus,
        "vcpus_max": size.vcpus_max,
        "networks": [_as_asked_for(nic, node).as_dict() for nic in nics(xml)],
        "disk_gib": _gib(root) if root else None,
        "parent": root.parent if root else None,
        "disks": _disks(name, xml, ceph),
        "owner": ownership.node if ownership else None,
        "moving_to": ownership.moving_to if ownership else None,
        "record": _record(root.record) if root else None,
    }


def _as_asked_for(nic: Nic, node: NodeConfig) -> Nic:
    """What is connected as the node does it by itself was asked for without saying so."""
    return replace(nic, network=None, bridge=None) if nic.link == node.link and nic.vlan is None else nic


def _disks(name: str, xml: str, ceph: Ceph) -> list[dict[str, Any]]:
    there = [(disk, ceph.volume(disk.volume)) for disk in data_disks(xml, name)]
    return [
        {"name": disk.volume.partition(".")[2], "size_gib": _gib(volume), "serial": disk.serial}
        for disk, volume in there
        if volume is not None
    ]


def _gib(volume: VolumeFacts) -> int:
    return -(-volume.size_bytes // GIB)


def _record(text: str | None) -> Mapping[str, Any] | None:
    try:
        record = json.loads(text or "")
    except ValueError:
        return None
    return record if isinstance(record, Mapping) else None
