# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_node."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.errors import Invalid
from ..module_utils.field_reader import FieldReader
from ..module_utils.placement_wish import read_labels
from ..module_utils.registry import Registry
from ..module_utils.registry_nodes import STATES
from ..plugin_utils.registry_action import RegistryAction, change_result


class ActionModule(RegistryAction):
    """Registers a node, or changes what is known of it."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str"},
        "vcpus": {"type": "int"},
        "memory_mib": {"type": "int"},
        "cpu_overcommit": {"type": "float"},
        "memory_overcommit": {"type": "float"},
        "state": {"type": "str", "choices": list(STATES)},
        "labels": {"type": "dict"},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """Insert or update."""
        wanted = {key: value for key, value in arguments.items() if key != "name"}
        if wanted["labels"] is not None:
            reader = FieldReader(wanted)
            wanted["labels"] = dict(read_labels(reader, "labels"))
            if reader.problems:
                raise Invalid(reader.problems)
        change = registry.put_node(arguments["name"], wanted)
        return change_result(change) | {"node": change.after}
