# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_info."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.registry import Registry
from ..module_utils.registry_rows import no_vm
from ..plugin_utils.registry_action import RegistryAction

_FILTERS = ("name", "project", "node", "state", "image", "tag", "search", "after")


class ActionModule(RegistryAction):
    """Reads VMs, the node or the history of one, or how many there are."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "name": {"type": "str"},
        "project": {"type": "str"},
        "node": {"type": "str"},
        "state": {"type": "str"},
        "image": {"type": "str"},
        "tag": {"type": "str"},
        "search": {"type": "str"},
        "limit": {"type": "int", "default": 0},
        "after": {"type": "str"},
        "location": {"type": "bool", "default": False},
        "history": {"type": "int", "default": 0},
        "summary": {"type": "bool", "default": False},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """Read only."""
        if arguments["location"]:
            node, source = registry.location(arguments["name"] or "")
            return {"changed": False, "node": node, "source": source}
        if arguments["history"] > 0:
            return {"changed": False, "events": registry.history(arguments["name"] or "", arguments["history"])}
        if arguments["summary"]:
            return {"changed": False, "summary": registry.summary()}
        filters = {key: arguments[key] for key in _FILTERS}
        vms, after = registry.page(filters, max(0, arguments["limit"]))
        if not vms and arguments["name"] is not None:
            raise no_vm(arguments["name"])
        return {"changed": False, "vms": vms, "next": after}
