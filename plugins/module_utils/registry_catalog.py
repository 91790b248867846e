# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry in PostgreSQL: nodes, images and projects. Runs on the controller only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import registry_nodes as nodes
from . import registry_projects as projects
from . import registry_rows as rows
from . import registry_subnets as subnets
from .errors import Conflict
from .registry_change import Change
from .registry_connection import RegistryConnection
from .subnet import Subnet


class RegistryCatalog(RegistryConnection):
    """What VMs are made on, of and for; every method is one transaction. Raises what RegistryConnection does."""

    def put_node(self, name: str, wanted: Mapping[str, Any]) -> Change:
        """Register a node, or bring what is given of it up to date.

        Args:
            wanted: some of address, vcpus, memory_mib, cpu_overcommit, memory_overcommit, state and labels.

        Raises:
            Invalid: a new one needs its address and capacity.
        """
        with self._transaction(claiming=True) as cursor:
            return Change(*nodes.put(cursor, name, wanted))

    def nodes(self) -> list[dict[str, Any]]:
        """Every node with its capacity and what is used of it, see registry_nodes.with_use."""
        with self._reading() as cursor:
            return nodes.with_use(cursor)

    def put_quota(self, project: str, quota: Mapping[str, int | None]) -> Change:
        """Give a project these quotas (vms, vcpus, memory_mib, disk_gib) and no other; None is no limit."""
        with self._transaction(claiming=True) as cursor:
            return Change(*projects.put(cursor, project, quota))

    def projects(self) -> list[dict[str, Any]]:
        """Every project with what it uses and may use, see registry_projects.listed."""
        with self._reading() as cursor:
            return projects.listed(cursor)

    def put_subnet(self, subnet: Subnet) -> Change:
        """Make a subnet, or give it another definition; VMs that are in it keep what they have."""
        with self._transaction(claiming=True) as cursor:
            return Change(*subnets.put(cursor, subnet))

    def drop_subnet(self, name: str) -> Change:
        """Take a subnet away.

        Raises:
            Conflict: VMs are in it.
        """
        with self._transaction(claiming=True) as cursor:
            return Change(subnets.drop(cursor, name), {})

    def subnets(self) -> list[dict[str, Any]]:
        """Every subnet with how many addresses are used, see registry_subnets.listed."""
        with self._reading() as cursor:
            return subnets.listed(cursor)

    def put_image(self, name: str, size_gib: int) -> Change:
        """Register an image, or bring its size up to date."""
        row = {"name": name, "size_gib": size_gib}
        with self._transaction() as cursor:
            cursor.execute("SELECT name, size_gib FROM image WHERE name = %(name)s FOR UPDATE", row)
            change = Change(dict(cursor.fetchone() or {}), row)
            if change.changed:
                cursor.execute(
                    """INSERT INTO image (name, size_gib) VALUES (%(name)s, %(size_gib)s) ON CONFLICT (name)
                       DO UPDATE SET (size_gib, updated_at) = (excluded.size_gib, now())""",
                    row,
                )
        return change

    def images(self) -> dict[str, int]:
        """The size in GiB of every image, by name."""
        with self._reading() as cursor:
            return rows.images(cursor)

    def drop_image(self, name: str) -> Change:
        """No new VM is made from this image from now on.

        Raises:
            Conflict: VMs are reserved with it that may not have been cloned yet.
        """
        with self._transaction(claiming=True) as cursor:
            cursor.execute(
                "SELECT name FROM vm WHERE image = %s AND state <> 'deleted' AND NOT made ORDER BY name", (name,)
            )
            half_made = [row["name"] for row in cursor.fetchall()]
            if half_made:
                raise Conflict(
                    f"VMs are being made from image {name}",
                    "Finish them (create_vm.yml) or delete them, and run again.",
                    half_made,
                )
            cursor.execute("DELETE FROM image WHERE name = %s RETURNING name, size_gib", (name,))
            return Change(dict(cursor.fetchone() or {}), {})
