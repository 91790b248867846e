# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_node."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.registry import Registry
from ..plugin_utils.registry_action import RegistryAction, change_result


class ActionModule(RegistryAction):
    """Registers a node."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "vcpus": {"type": "int", "required": True},
        "memory_mib": {"type": "int", "required": True},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """Insert or update."""
        return change_result(registry.put_node(**arguments))
