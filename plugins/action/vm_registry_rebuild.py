# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_rebuild."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.registry import Registry
from ..module_utils.seen import told
from ..plugin_utils.registry_action import RegistryAction


class ActionModule(RegistryAction):
    """Inserts what the registry lost."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "nodes": {"type": "dict", "required": True},
        "silent": {"type": "list", "elements": "str", "default": []},
        "capacities": {"type": "dict", "default": {}},
        "images": {"type": "list", "elements": "dict", "default": []},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """One transaction, and then the cache."""
        seen = told(arguments["nodes"], arguments["silent"])
        images = {image["name"]: image["size_gib"] for image in arguments["images"]}
        found = registry.rebuild(seen, arguments["capacities"], images, actor)
        return {
            "changed": any(finding.action for finding in found),
            "findings": [finding.view() for finding in found],
        }
