# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_reconcile."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.registry import Registry
from ..module_utils.seen import told
from ..plugin_utils.registry_action import RegistryAction


class ActionModule(RegistryAction):
    """Compares the registry with what the nodes said, and mends it."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "nodes": {"type": "dict", "required": True},
        "silent": {"type": "list", "elements": "str", "default": []},
        "apply": {"type": "bool", "default": False},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """One transaction, and then the cache."""
        seen = told(arguments["nodes"], arguments["silent"])
        found, ids = registry.reconcile(seen, arguments["apply"], actor)
        mended = [finding for finding in found if finding.is_of_the_registry and arguments["apply"]]
        return {
            "changed": bool(mended),
            "findings": [finding.view() for finding in found],
            "known_ids": sorted({*ids, *(domain.id for domain in seen.domains)}),
        }
