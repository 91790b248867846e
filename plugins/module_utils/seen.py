# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes and the cache say of VMs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of ours on a node; `id` is that of its VM. For `details` see vm_details; None were not asked for."""

    node: str
    name: str
    id: str
    state: str
    ip: str | None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the nodes and the cache said.

    Attributes:
        domains: of ours, on all nodes that answered.
        foreign: the names of domains that are not ours, by node that answered.
        silent: the nodes that did not answer.
        cache: the node of each name that the cache knows.
    """

    domains: Sequence[Domain] = ()
    foreign: Mapping[str, Collection[str]] = field(default_factory=dict)
    silent: Collection[str] = ()
    cache: Mapping[str, str] = field(default_factory=dict)


def told(nodes: Mapping[str, Mapping[str, Any]], silent: Collection[str] = ()) -> Seen:
    """What module virt_rbd_vm_info returned on each node that answered, by its name."""
    domains = [
        Domain(node, vm["name"], vm["id"], vm["state"], vm["ip"], vm.get("details"))
        for node, answer in nodes.items()
        for vm in answer["vms"]
    ]
    return Seen(domains, {node: answer["foreign"] for node, answer in nodes.items()}, silent)
