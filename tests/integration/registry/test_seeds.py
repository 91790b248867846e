# SPDX-License-Identifier: GPL-3.0-or-later
"""Another seed in the registry: what is kept, what has to be given again, and when it is another instance."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict, Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Claim, Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

KEY, OTHER_KEY = "ssh-ed25519 AAAA one", "ssh-ed25519 AAAA two"


def _make(registry: Registry, **given: Any) -> Claim:
    claim = registry.claim_new(parse_request({"name": "a", **given}), "ann@desk", 60)
    registry.record(Record("a", claim.lease or "", "running"), "ann@desk")
    return claim


def _reseed(registry: Registry, **given: Any) -> Claim:
    claim = registry.claim_seed(parse_request({"name": "a", **given}), [KEY], "ann@desk", 60)
    registry.record(Record("a", claim.lease or ""), "ann@desk")
    return claim


def test_another_seed_is_another_instance_and_the_same_is_not(registry: Registry) -> None:
    vm_id = _make(registry, ssh_authorized_keys=[KEY]).vm["id"]
    assert registry.vms({"name": "a"})[0]["instance_id"] == vm_id
    for _time in range(2):
        claim = _reseed(registry, ssh_authorized_keys=[OTHER_KEY], user_data={"a": 1})
        assert (claim.vm["instance_id"], claim.vm["ssh_authorized_keys"]) == (f"{vm_id}.1", [OTHER_KEY])
    assert not claim.change.changed
    # Back to what it was is not the instance that it was: the guest would take itself for set up.
    assert _reseed(registry, ssh_authorized_keys=[KEY], user_data={}).vm["instance_id"] == f"{vm_id}.2"


def test_what_is_not_given_stays_and_keys_are_those_of_the_inventory_at_last(registry: Registry) -> None:
    _make(registry, guest_user="ann")
    vm = _reseed(registry, user_data={"a": 1}).vm
    assert (vm["guest_user"], vm["ssh_authorized_keys"], vm["seed_generation"]) == ("ann", [KEY], 1)


def test_user_data_has_to_be_given_again(registry: Registry) -> None:
    _make(registry, user_data={"password": "canary"})
    with pytest.raises(Invalid, match="not given again"):
        _reseed(registry, guest_user="ann")
    assert registry.vms({"name": "a"})[0]["seed_generation"] == 0


def test_a_half_made_vm_is_made_first(registry: Registry) -> None:
    claim = registry.claim_new(parse_request({"name": "a"}), "ann@desk", 60)
    registry.record(Record("a", claim.lease or "", "error", "clone", {"code": "backend"}), "ann@desk")
    with pytest.raises(Conflict, match="half-made"):
        _reseed(registry)
