# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_subnet."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.registry import Registry
from ..module_utils.subnet import read_subnet
from ..plugin_utils.registry_action import RegistryAction, change_result


class ActionModule(RegistryAction):
    """Makes, changes and takes away a subnet."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "cidr": {"type": "str"},
        "network": {"type": "str"},
        "bridge": {"type": "str"},
        "vlan": {"type": "raw"},
        "gateway": {"type": "str"},
        "dns": {"type": "list", "elements": "str"},
        "search": {"type": "list", "elements": "str"},
        "first": {"type": "str"},
        "last": {"type": "str"},
        "reserved": {"type": "list", "elements": "str"},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """One transaction by the state that was asked for."""
        if arguments.pop("state") == "absent":
            return change_result(registry.drop_subnet(arguments["name"]))
        change = registry.put_subnet(read_subnet(arguments))
        return change_result(change) | {"subnet": change.after}
