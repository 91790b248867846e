# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The floor of tests/bench/inventory.py: hosts with the same variables and groups, without any registry to read."""

from __future__ import annotations

DOCUMENTATION = r"""
name: from_memory
short_description: So many virtual machines out of nothing
description:
  - Adds hosts, variables and groups as virtfleet.cloud.vm_registry does.
options:
  plugin:
    description: Has to be from_memory.
    required: true
    choices: [from_memory]
  count:
    description: How many.
    type: int
    required: true
"""

from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin


class InventoryModule(BaseInventoryPlugin):
    """Adds hosts."""

    NAME = "from_memory"

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Entry point."""
        super().parse(inventory, loader, path)
        self._read_config_data(path)
        for number in range(1, self.get_option("count") + 1):
            name = f"vm-{number:06}"
            inventory.add_host(name)
            inventory.hosts[name].vars.update(self._variables(number))
            for group in (
                f"node_n{number % 20}",
                "state_running",
                f"project_p{number % 50}",
                "image_debian_13",
                "tag_web",
            ):
                inventory.add_group(group)
                inventory.add_child(group, name)

    @staticmethod
    def _variables(number: int) -> dict[str, object]:
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        return {
            "vm_id": f"00000000-0000-4000-8000-{number:012}",
            "vm_project": f"p{number % 50}",
            "vm_node": f"n{number % 20}",
            "vm_node_address": "10.0.0.1",
            "vm_state": "running",
            "vm_memory_mib": 1024,
            "vm_vcpus": 1,
            "vm_disk_gib": 10,
            "vm_image": "debian-13",
            "vm_mac": f"52:54:00:{number // 65536:02x}:{number // 256 % 256:02x}:{number % 256:02x}",
            "vm_ip": address,
            "vm_tags": ["web"],
            "vm_protected": False,
            "vm_guest_user": "debian",
            "vm_created_at": "2026-01-01T00:00:00.000Z",
            "ansible_user": "debian",
            "ansible_host": address,
        }
