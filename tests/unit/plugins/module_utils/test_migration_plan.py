# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Where a VM is, where it should go, and what has to be done or is refused."""

from __future__ import annotations

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.migration_plan import (
    Limits,
    Move,
    ObservedMove,
    TargetFacts,
    check_limits,
    decide_move,
    host_cpu,
    interfaces,
    memory_uri,
    target_uri,
)
from ansible_collections.virtfleet.cloud.plugins.module_utils.ownership import Ownership
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import DomainFacts

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
OTHER = "00000000-0000-4000-8000-000000000000"
MOVE = Move("a", ID, "node-1", "node-2")
STAY = Move("a", ID, "node-1", "node-1")
HERE, SHARED, THERE = Ownership("node-1"), Ownership("node-1", "node-2"), Ownership("node-2")
NETWORK = (("network", "default"),)


def seen(
    here: str | None, there: str | None, owner: Ownership | None, *problems: str, cpu_fits: bool = True
) -> ObservedMove:
    def domain(state: str | None) -> DomainFacts | None:
        return DomainFacts(ID, state, ID) if state else None

    return ObservedMove(domain(here), NETWORK, owner, TargetFacts(domain(there), NETWORK, problems), cpu_fits)


@pytest.mark.parametrize(
    ("observed", "actions", "state"),
    [
        (seen("running", None, HERE), ["share_ownership", "migrate", "hand_over_ownership"], "running"),
        (seen("suspended", None, HERE), ["share_ownership", "migrate", "hand_over_ownership"], "suspended"),
        (seen("stopped", None, HERE), ["share_ownership", "migrate", "hand_over_ownership"], "stopped"),
        # cut off before, and after, the move itself
        (seen("running", None, SHARED), ["migrate", "hand_over_ownership"], "running"),
        (seen("stopped", "stopped", SHARED), ["migrate", "hand_over_ownership"], "stopped"),
        (seen("stopped", "running", SHARED), ["undefine", "hand_over_ownership"], "running"),
        (seen(None, "running", SHARED), ["hand_over_ownership"], "running"),
        (seen(None, "running", THERE), [], "running"),
        # moved by hand with virsh
        (seen(None, "running", HERE), ["hand_over_ownership"], "running"),
    ],
)
def test_from_what_is_there_to_the_target(observed: ObservedMove, actions: list[str], state: str) -> None:
    plan = decide_move(MOVE, observed)
    assert plan.actions == [f"{action} a" for action in actions]
    assert plan.after == {"node": "node-2", "state": state, "owner": "node-2"}
    assert plan.changed == (plan.before != plan.after)


@pytest.mark.parametrize(
    ("observed", "code", "word"),
    [
        (seen("running", None, Ownership("node-3")), "in_use_elsewhere", "belongs to node-3"),
        (seen("running", None, Ownership("node-1", "node-3")), "in_use_elsewhere", "on the move to node-3"),
        (seen("running", None, None), "in_use_elsewhere", "no node"),
        (seen(None, None, SHARED), "not_found", "neither"),
        (seen("running", "running", SHARED), "conflict", "running on node-1 and running on node-2"),
        (seen("suspended", "running", SHARED), "conflict", "suspended on node-1"),
        (seen("stopped", "running", HERE), "conflict", "stopped on node-1"),
        (seen("running", None, HERE, "no secret"), "conflict", "no secret"),
        (seen("running", None, HERE, cpu_fits=False), "conflict", "the CPU of node-2 lacks"),
    ],
)
def test_what_is_refused(observed: ObservedMove, code: str, word: str) -> None:
    with pytest.raises(VirtfleetError) as caught:
        decide_move(MOVE, observed)
    assert caught.value.code == code and word in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    target = TargetFacts(DomainFacts(OTHER, "stopped", None), (("bridge", "br0"),), ("no secret",))
    domain = DomainFacts(ID, "running", ID)
    with pytest.raises(VirtfleetError) as caught:
        decide_move(MOVE, ObservedMove(domain, NETWORK, HERE, target, cpu_fits=False))
    words = ("not this VM", "no secret", "no network default", "the CPU of node-2")
    assert len(caught.value.problems) == 4
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_move_that_was_cut_off_is_given_up() -> None:
    running = DomainFacts(ID, "running", ID)
    assert decide_move(STAY, ObservedMove(running, NETWORK, SHARED, None)).actions == ["keep_ownership a"]
    assert not decide_move(STAY, ObservedMove(running, NETWORK, HERE, None)).changed
    with pytest.raises(VirtfleetError, match="is not on node-1 any more"):
        decide_move(STAY, ObservedMove(None, (), SHARED, None))


def test_limits() -> None:
    check_limits(Limits(post_copy=True, encrypted=False))
    with pytest.raises(VirtfleetError) as caught:
        check_limits(Limits(seconds=0, bandwidth_mib=-1, downtime_ms=0, post_copy=True))
    assert len(caught.value.problems) == 4


def test_an_owner_is_what_was_written() -> None:
    for owner in (HERE, SHARED):
        assert Ownership.from_bytes(owner.to_bytes()) == owner
    assert HERE.to_bytes() == b'{"node": "node-1"}'
    assert str(SHARED) not in (str(HERE), str(THERE))


def test_interfaces_and_cpu_are_read_from_xml() -> None:
    domain = """<domain><devices>
        <interface type="network"><source network="default" bridge="virbr0"/></interface>
        <interface type="bridge"><source bridge="br0"/></interface><interface type="user"/>
    </devices></domain>"""
    assert interfaces(domain) == (("network", "default"), ("bridge", "br0"))
    assert host_cpu("<capabilities><host><cpu><arch>x86_64</arch></cpu></host></capabilities>") == (
        "<cpu><arch>x86_64</arch></cpu>"
    )
    assert host_cpu("<capabilities><host/></capabilities>") == ""


def test_uris() -> None:
    assert target_uri("10.0.0.2") == "qemu+tls://10.0.0.2/system"
    assert target_uri("fd00::2") == "qemu+tls://[fd00::2]/system"
    assert memory_uri("fd00::2") == "tcp://[fd00::2]"
