# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node may run a VM, as it is written into the pool. Pure.

While a VM moves both nodes are named: then neither may be told to start it, and migrate_vm.yml alone goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .errors import VirtfleetError


@dataclass(frozen=True, slots=True)
class Ownership:
    """The owner of a VM, and the node that it is on its way to."""

    node: str
    moving_to: str | None = None

    def __str__(self) -> str:
        return f"{self.node}, on the move to {self.moving_to}" if self.moving_to else self.node

    def to_bytes(self) -> bytes:
        """The content of the owner's object; equal owners are equal bytes, so that they can be compared in the pool."""
        moving = {"moving_to": self.moving_to} if self.moving_to else {}
        return json.dumps({"node": self.node} | moving).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Ownership:
        """What to_bytes made."""
        data = json.loads(content)
        return cls(data["node"], data.get("moving_to"))


def refuse_elsewhere(name: str, owner: str | None, node: str) -> None:
    """Refuse to act on a VM that another node owns.

    Args:
        owner: as Ceph.owner reads it; a VM that moves belongs to neither node.
    """
    if owner not in (None, node):
        raise VirtfleetError(
            "in_use_elsewhere",
            f"VM {name} belongs to node {owner}, not to {node}",
            "Run this on its node; a VM changes its node by migration only.",
        )
