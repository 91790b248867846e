# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_image."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.errors import Invalid
from ..module_utils.registry import Registry
from ..plugin_utils.registry_action import RegistryAction, change_result


class ActionModule(RegistryAction):
    """Registers an image, or takes it out."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "name": {"type": "str", "required": True},
        "size_gib": {"type": "int"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """Insert, update or delete."""
        if arguments["state"] == "absent":
            return change_result(registry.drop_image(arguments["name"]))
        if arguments["size_gib"] is None:
            raise Invalid(["size_gib is needed for an image that is present"])
        return change_result(registry.put_image(arguments["name"], arguments["size_gib"]))
