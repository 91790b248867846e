# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The doubles of what a move needs: owners that change, and a host whose domains go to another World."""

from __future__ import annotations

from typing import Any

from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Backend, Conflict
from ansible_collections.virtfleet.cloud.plugins.module_utils.migration_plan import Limits
from ansible_collections.virtfleet.cloud.plugins.module_utils.ownership import Ownership

from .doubles import FakeCeph, FakeHypervisor, World


class FakeOwners:
    """OwnerStore over a World."""

    def __init__(self, ceph: FakeCeph) -> None:
        self.world = ceph.world

    def read(self, vm_id: str) -> Ownership | None:
        written = self.world.owners.get(vm_id)
        if written is None:
            return None
        node, _moving, target = written.partition(", on the move to ")
        return Ownership(node, target or None)

    def change(self, vm_id: str, before: Ownership, after: Ownership) -> None:
        if self.read(vm_id) != before:
            raise Conflict("not any more")
        self.world.mutate(f"own {after}")
        self.world.owners[vm_id] = str(after)


class FakeMigrationHost(FakeHypervisor):
    """MigrationHost over the World of a node, and that of the node that its VMs move to."""

    def __init__(self, world: World, target: World, move_fails: bool = False) -> None:
        super().__init__(world)
        self.target = target
        self.move_fails = move_fails

    def __enter__(self) -> FakeMigrationHost:
        return self

    def has_secret(self, uuid: str) -> bool:
        return True

    def networks(self) -> tuple[str, ...]:
        return ("default",)

    def interfaces(self, name: str) -> tuple[tuple[str, str], ...]:
        return (("network", "default"),)

    def cpu(self) -> str:
        return "<cpu/>"

    def cpu_is_within(self, other: str) -> bool:
        return other == "<cpu/>"

    def migrate_definition(self, name: str, uri: str) -> None:
        self._move(name)

    def migrate(self, name: str, uri: str, address: str, limits: Limits) -> dict[str, Any]:
        self._move(name)
        return {"seconds": 0.1}

    def _move(self, name: str) -> None:
        domain = self._existing(name)
        self.world.mutate("migrate")
        if self.move_fails:
            raise Backend("the network is down")
        self.target.domains[name] = domain
        del self.world.domains[name]
