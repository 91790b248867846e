# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_cache."""

from __future__ import annotations

from typing import Any

from ..module_utils.registry import Registry
from ..plugin_utils.registry_action import RegistryAction


class ActionModule(RegistryAction):
    """Empties the cache."""

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """Only the cache is touched."""
        names = registry.empty_cache()
        return {"changed": bool(names), "names": names}
