# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..module_utils.errors import Invalid
from ..module_utils.field_reader import FieldReader
from ..module_utils.registry import Registry
from ..plugin_utils.registry_action import RegistryAction, change_result

_MOST = 10**9


class ActionModule(RegistryAction):
    """Gives a project its quotas."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "name": {"type": "str", "required": True},
        "vms": {"type": "raw"},
        "cpu": {"type": "raw"},
        "ram": {"type": "raw"},
        "disk": {"type": "raw"},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """Write them, or take them away."""
        reader = FieldReader(arguments)
        name = reader.label("name", None)
        limits: dict[str, tuple[str, Callable[[str], int]]] = {
            "vms": ("vms", lambda key: reader.count(key, 0, (0, _MOST))),
            "vcpus": ("cpu", lambda key: reader.count(key, 0, (0, _MOST))),
            "memory_mib": ("ram", lambda key: reader.size(key, 0, "MiB", (0, _MOST))),
            "disk_gib": ("disk", lambda key: reader.size(key, 0, "GiB", (0, _MOST))),
        }
        quota = {resource: None if arguments[key] is None else read(key) for resource, (key, read) in limits.items()}
        if reader.problems:
            raise Invalid(reader.problems)
        return change_result(registry.put_quota(name, quota))
