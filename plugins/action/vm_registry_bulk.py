# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_bulk."""

from __future__ import annotations

from typing import Any, ClassVar

from ..action.vm_registry import claim_view, read_request_of
from ..module_utils.bulk import expand
from ..module_utils.errors import VirtfleetError
from ..module_utils.registry import Claim, Registry
from ..module_utils.registry_rows import Record
from ..plugin_utils.registry_action import RegistryAction

# What virt_rbd_vm is told of a VM, by the names that the registry shows.
_NODE_FIELDS = (
    "name", "id", "node", "project", "image", "memory_mib", "memory_max_mib", "vcpus", "vcpus_max", "disk_gib", "disks",
    "networks",
)  # fmt: skip


class ActionModule(RegistryAction):
    """Claims and records many VMs."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["claimed", "recorded"], "required": True},
        "request": {"type": "dict", "default": {}},
        "lease_seconds": {"type": "int", "default": 600},
        "claims": {"type": "list", "elements": "dict", "default": []},
        "results": {"type": "list", "elements": "dict", "default": []},
        "node_errors": {"type": "dict", "default": {}},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """One transaction by the state that was asked for."""
        if arguments["state"] == "claimed":
            return self._claim(registry, arguments, actor)
        if self._task.check_mode:
            # The claims of a check run were rolled back, so there is nothing to record on.
            return {"changed": False, "vms": []}
        results, errors = {result["name"]: result for result in arguments["results"]}, arguments["node_errors"]
        records = [_record(claim, results, errors) for claim in arguments["claims"] if claim["needed"]]
        vms, changes = registry.record_many(records, actor)
        failed = {record.name: record.error for record in records if record.error}
        return {
            "changed": any(change.changed for change in changes.values()) or bool(failed),
            "vms": vms,
            "failed_vms": failed,
            "diff": {
                "before": {name: change.before for name, change in changes.items()},
                "after": {name: change.after for name, change in changes.items()},
            },
        }

    def _claim(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        requests = expand(arguments["request"])
        read = [read_request_of(request, self.flavors) for request in requests]
        claims, refused = registry.claim_many(read, actor, arguments["lease_seconds"])
        asked = {str(request.get("name")): request for request in requests}
        return {
            "changed": any(claim.needed for claim in claims),
            "claims": [claim_view(claim, "create") for claim in claims],
            "refused": {name: error.as_result() for name, error in refused.items()},
            "by_node": _by_node(claims, asked),
            "diff": {
                "before": {claim.vm["name"]: claim.change.before for claim in claims},
                "after": {claim.vm["name"]: claim.change.after for claim in claims},
            },
        }


def _by_node(claims: list[Claim], asked: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What virt_rbd_vms is to be given on each node."""
    nodes: dict[str, list[dict[str, Any]]] = {}
    for claim in claims:
        if claim.needed:
            options = {field: claim.vm[field] for field in _NODE_FIELDS} | {"record": claim.record}
            given = asked[claim.vm["name"]]
            options |= {key: given[key] for key in ("ssh_authorized_keys", "guest_user") if given.get(key) is not None}
            nodes.setdefault(claim.node["name"], []).append(options)
    return nodes


def _record(claim: dict[str, Any], results: dict[str, dict[str, Any]], node_errors: dict[str, Any]) -> Record:
    """What became of a claimed VM; one that no node tells of is on a node that failed or did not answer."""
    name, lease, node = claim["vm"]["name"], claim["lease"], claim["node"]["name"]
    result = results.get(name)
    if result is not None and "error" not in result:
        return Record(name, lease, state=result["vm"]["state"])
    silent = VirtfleetError(
        "unreachable",
        f"Node {node} did not tell what became of {name}",
        "Check that it runs and lets this machine in by SSH, and run again.",
    )
    error = result["error"] if result is not None else node_errors.get(node, silent.as_result())
    return Record(name, lease, step="Make it on its node", error=error)
