# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils.cloud_config import requested_cloud_config
from ..module_utils.errors import Invalid
from ..module_utils.registry import Claim, Registry
from ..module_utils.registry_rows import Record
from ..module_utils.seen import told
from ..module_utils.spec import VmSpec, read_request, with_flavor
from ..plugin_utils.registry_action import RegistryAction, change_result


class ActionModule(RegistryAction):
    """Claims, records and forgets VMs."""

    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["claimed", "recorded", "forgotten", "refreshed"], "required": True},
        "name": {"type": "str"},
        "project": {"type": "str"},
        "intent": {
            "type": "str",
            "choices": [
                "create",
                "clone",
                "start",
                "stop",
                "suspend",
                "resume",
                "migrate",
                "flatten",
                "delete",
                "undelete",
                "change",
                "reseed",
                "seal",
                "snapshot",
                "rollback",
                "remove_snapshot",
                "backup",
                "remove_backup",
                "restore",
                "redefine",
            ],
            "default": "create",
        },
        "request": {"type": "dict", "default": {}},
        "lease": {"type": "str"},
        "lease_seconds": {"type": "int", "default": 180},
        "vm_state": {"type": "str"},
        "vm_node": {"type": "str"},
        "address_kept": {"type": "bool", "default": True},
        "snapshot": {"type": "str"},
        "undo": {"type": "dict"},
        "step": {"type": "str"},
        "error": {"type": "dict"},
        "event": {"type": "str"},
        "detail": {"type": "dict"},
        "nodes": {"type": "dict", "default": {}},
    }

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """One transaction by the state that was asked for."""
        name, lease = arguments["name"], arguments["lease"]
        if arguments["state"] == "claimed":
            return claim_view(self._claim(registry, arguments, actor), arguments["intent"])
        if arguments["state"] != "refreshed" and self._task.check_mode:
            # The claim of a check run was rolled back, so there is nothing to record on.
            return {"changed": False, "vm": None}
        if arguments["state"] == "recorded":
            record = Record(
                name,
                lease,
                state=arguments["vm_state"],
                step=arguments["step"],
                error=arguments["error"],
                event=arguments["event"],
                detail=arguments["detail"] or {},
                node=arguments["vm_node"],
                address_kept=arguments["address_kept"],
                snapshot=arguments["snapshot"],
                undo=arguments["undo"],
            )
            vm, change = registry.record(record, actor)
            # A failure is told to the VM's history even where the row says the same already.
            return change_result(change) | {"vm": vm, "changed": change.changed or arguments["error"] is not None}
        if arguments["state"] == "forgotten":
            vm, change = registry.forget(name, lease, actor)
            return {"vm": vm} | change_result(change)
        change = registry.refresh(told(arguments["nodes"]), actor)
        return {"names": sorted(change.after)} | change_result(change)

    def _claim(self, registry: Registry, arguments: dict[str, Any], actor: str) -> Claim:
        name, seconds = arguments["name"], arguments["lease_seconds"]
        if arguments["intent"] == "change":
            changes = with_flavor(arguments["request"], self.flavors)
            return registry.claim_change(name, changes, actor, seconds)
        if arguments["intent"] == "reseed":
            spec = self._read(arguments["request"] | {"name": name})
            return registry.claim_seed(spec, self.default_keys, actor, seconds)
        if arguments["intent"] == "undelete":
            return registry.claim_deleted(name, actor, seconds)
        if arguments["intent"] == "restore":
            source = arguments["request"]
            return registry.claim_restored(name, source, source.get("node"), actor, seconds)
        if arguments["intent"] == "migrate":
            return registry.claim_move(name, arguments["request"].get("node"), actor, seconds)
        if arguments["intent"] not in ("create", "clone"):
            return registry.claim_existing(name, arguments["intent"], actor, seconds)
        request = {"project": arguments["project"]} | arguments["request"] | {"name": name}
        if arguments["intent"] == "clone":
            complete, unreadable = _complete(request, self.flavors)
            return registry.claim_clone(complete, actor, seconds, unreadable)
        spec, problems = read_request_of(request, self.flavors)
        return registry.claim_new(spec, actor, seconds, problems)

    def _read(self, request: dict[str, Any]) -> VmSpec:
        spec, problems = read_request_of(request, self.flavors)
        if problems:
            raise Invalid(problems)
        return spec


def read_request_of(given: dict[str, Any], flavors: dict[str, Any]) -> tuple[VmSpec, list[str]]:
    """The request as a spec, with everything that is wrong with it."""
    request, unreadable = _complete(given, flavors)
    spec, problems = read_request(request)
    return spec, [*problems, *unreadable]


def _complete(given: dict[str, Any], flavors: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request with the sizes of its flavor and one cloud-config, and why these cannot be read."""
    request = dict(given)
    unreadable: tuple[str, ...] = ()
    try:
        request = with_flavor(request, flavors)
    except Invalid as error:
        unreadable = error.problems
    try:
        request["user_data"] = requested_cloud_config(request)
    except Invalid as error:
        unreadable += error.problems
        request["user_data"] = None
    return request, unreadable


def claim_view(claim: Claim, intent: str) -> dict[str, Any]:
    # A lease is bookkeeping that the record takes away again; only what is reserved is a change.
    reserved = {
        "create": claim.needed,
        "clone": claim.needed,
        "change": claim.change.changed,
        "reseed": claim.change.changed,
        "undelete": claim.needed,
        "restore": not claim.resume,
    }
    return (
        change_result(claim.change)
        | {
            "changed": reserved.get(intent, False),
            "needed": claim.needed,
            "resume": claim.resume,
            "lease": claim.lease,
            "vm": claim.vm,
            "node": claim.node,
            "target": claim.target,
            "record": claim.record,
        }
        | ({"request": claim.request} if intent == "backup" else {})
    )
