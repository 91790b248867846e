# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry in PostgreSQL: all VMs at once, as an inventory needs them. Runs on the controller only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from .registry_connection import RegistryConnection, as_utc
from .spec import DEFAULTS

# What a host's variables are called, and what they are in a row of vm joined with its node.
VARIABLES = {
    "vm_id": "vm.id::text",
    "vm_project": "vm.project",
    "vm_node": "vm.node",
    "vm_node_address": "node.address",
    "vm_state": "vm.state",
    "vm_memory_mib": "vm.memory_mib",
    "vm_vcpus": "vm.vcpus",
    "vm_disk_gib": "vm.disk_gib",
    "vm_image": "vm.image",
    "vm_mac": "vm.mac::text",
    "vm_ip": "host(vm.ip)",
    "vm_tags": "vm.tags",
    "vm_protected": "vm.protected",
    "vm_guest_user": f"coalesce(vm.spec ->> 'guest_user', '{DEFAULTS['guest_user']}')",
    "vm_created_at": as_utc("vm.created_at"),
}

# Ansible takes letters, digits and underscores in the names of groups.
_GROUPS = r"""ARRAY(
    SELECT regexp_replace(word, '[^A-Za-z0-9_]', '_', 'g')
    FROM unnest(ARRAY['node_' || vm.node, 'state_' || vm.state, 'project_' || vm.project, 'image_' || vm.image]
                || ARRAY(SELECT 'tag_' || tag FROM unnest(vm.tags) AS tag)) AS word)"""

# What the groups of a VM depend on: there are far fewer kinds of these than VMs.
_KIND = ("vm_node", "vm_state", "vm_project", "vm_image", "vm_tags")

_FILTERS = {
    "projects": "vm.project = ANY(%(projects)s)",
    "states": "vm.state = ANY(%(states)s)",
    "nodes": "vm.node = ANY(%(nodes)s)",
    "tags": "vm.tags && %(tags)s",
}


class InventoryReader(RegistryConnection):
    """Reads what an inventory is made of. Raises what RegistryConnection does."""

    def rows(self, filters: Mapping[str, Sequence[str]]) -> list[list[Any]]:
        """The VMs that are not deleted, by name.

        Args:
            filters: some of projects, states, nodes and tags, each a list of which one has to match; empty ones are
                left out.

        Returns:
            For each its name, its groups, and the values of VARIABLES in their order.
        """
        given = {name: list(values) for name, values in filters.items() if values}
        where = "".join(f" AND {_FILTERS[name]}" for name in given)
        matching = f"FROM vm JOIN node ON node.name = vm.node WHERE vm.state <> 'deleted'{where}"
        kind = ", ".join(VARIABLES[name] for name in _KIND)
        kind_of = itemgetter(*(1 + list(VARIABLES).index(name) for name in _KIND))
        with self._reading(plain=True) as cursor:
            cursor.execute(f"SELECT {kind}, to_jsonb({_GROUPS}) FROM (SELECT DISTINCT {kind} {matching}) AS vm", given)
            groups = {_hashable(row[:-1]): row[-1] for row in cursor.fetchall()}
            cursor.execute(f"SELECT vm.name, {', '.join(VARIABLES.values())} {matching} ORDER BY vm.name", given)
            return [[row[0], groups[_hashable(kind_of(row))], *row[1:]] for row in cursor.fetchall()]


def _hashable(kind: Sequence[Any]) -> tuple[Any, ...]:
    *words, tags = kind
    return (*words, tuple(tags))
