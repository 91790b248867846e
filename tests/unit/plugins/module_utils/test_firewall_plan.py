# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is let in by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.firewall_plan import Rules, Site, plan_rules

GROUPS = {"database": ["db-1"], "manager": ["manager-1"], "virtualization": ["node-1", "node-2"]}
ADDRESSES = {"db-1": ["10.0.0.1"], "manager-1": ["10.0.0.9"], "node-1": ["10.0.0.2", "fd00::2"], "node-2": ["10.0.0.3"]}
EVERYWHERE = ["0.0.0.0/0", "::/0"]
POSTGRESQL = {"name": "postgresql", "tcp": [5432], "to": ["database"], "from": ["manager"], "networks": ["controllers"]}
MIGRATION = {"name": "migration", "tcp": ["49152-49215"], "to": ["virtualization"], "from": ["virtualization"]}
SSH = {"name": "ssh", "tcp": [22], "to": ["all"], "from": ["manager"], "networks": ["admin"]}


def rules(
    host: str,
    *services: dict[str, Any],
    management: tuple[str, ...] = (),
    admin: Sequence[str] = tuple(EVERYWHERE),
    storage: Sequence[str] = (),
) -> Rules:
    networks = {"controllers": ["192.0.2.0/24"], "admin": list(admin), "storage": list(storage)}
    return plan_rules(services, host, Site(GROUPS, ADDRESSES.__getitem__, networks, management))


def elements(plan: Rules) -> dict[str, list[str]]:
    return {one["name"]: one["elements"] for one in plan.sets}


def test_a_service_lets_in_the_groups_and_networks_that_need_it() -> None:
    plan = rules("db-1", POSTGRESQL)
    assert plan.input == [
        'ip saddr @manager_v4 tcp dport { 5432 } accept comment "postgresql"',
        'ip saddr @controllers_v4 tcp dport { 5432 } accept comment "postgresql"',
    ]
    assert elements(plan)["manager_v4"] == ["10.0.0.9"]
    assert elements(plan)["controllers_v4"] == ["192.0.2.0/24"]


def test_a_host_that_does_not_serve_has_no_rule() -> None:
    assert rules("node-1", POSTGRESQL).input == []


def test_both_families_are_let_in_and_a_host_does_not_list_itself() -> None:
    plan = rules("node-2", MIGRATION)
    assert elements(plan)["virtualization_v4"] == ["10.0.0.2"]
    assert elements(plan)["virtualization_v6"] == ["fd00::2"]
    assert [rule.split()[0] for rule in plan.input] == ["ip", "ip6"]


def test_what_everybody_reaches_has_one_rule() -> None:
    assert rules("db-1", SSH).input == ['tcp dport { 22 } accept comment "ssh"']


def test_one_family_of_everybody_is_not_all() -> None:
    plan = rules("db-1", SSH, admin=["0.0.0.0/0"])
    assert plan.input == ['meta nfproto ipv4 tcp dport { 22 } accept comment "ssh"']


def test_with_a_management_network_nothing_changes_when_hosts_come() -> None:
    few = rules("node-1", SSH, MIGRATION, POSTGRESQL, management=("10.0.0.0/24",), admin=["10.1.0.0/16"])
    GROUPS["virtualization"].append("node-3")
    try:
        more = rules("node-1", SSH, MIGRATION, POSTGRESQL, management=("10.0.0.0/24",), admin=["10.1.0.0/16"])
    finally:
        GROUPS["virtualization"].remove("node-3")
    assert few == more
    assert elements(few)["management_v4"] == ["10.0.0.0/24"]
    assert 'ip saddr @management_v4 tcp dport { 49152-49215 } accept comment "migration"' in few.input


def test_guests_do_not_reach_what_is_not_for_everybody() -> None:
    plan = rules("node-1", SSH, MIGRATION, POSTGRESQL)
    assert "ip daddr @all_hosts_v4 tcp dport { 49152-49215, 5432 } drop" in plan.guests
    assert elements(plan)["all_hosts_v4"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9"]
    assert "22" in rules("node-1", SSH, admin=["10.1.0.0/16"]).guests[0]


@pytest.mark.parametrize("management", [(), ("10.0.0.0/24",)])
def test_guests_do_not_reach_hosts_by_their_addresses_for_storage(management: tuple[str, ...]) -> None:
    osd = {"name": "osd", "tcp": [6800], "to": ["virtualization"], "from": ["virtualization"], "networks": ["storage"]}
    plan = rules("node-1", osd, management=management, storage=["10.0.30.0/24"])
    (rule,) = (rule for rule in plan.guests if rule.startswith("ip "))
    assert rule.endswith("tcp dport { 6800 } drop")
    assert "10.0.30.0/24" in elements(plan)[rule.split("@")[1].split()[0]]


@pytest.mark.parametrize(
    ("service", "word"),
    [
        ({**POSTGRESQL, "form": ["manager"]}, "form is no key"),
        ({**POSTGRESQL, "networks": ["moon"]}, "no network moon"),
        ({"name": "empty", "to": ["all"]}, "one of tcp, udp and protocol"),
        ({"tcp": [1]}, "to is missing"),
    ],
)
def test_a_service_that_nobody_can_mean_is_refused(service: dict[str, Any], word: str) -> None:
    with pytest.raises(Invalid, match=word):
        rules("db-1", service)


def test_a_network_that_is_none_is_refused_by_its_name() -> None:
    with pytest.raises(Invalid, match=r"admin: .*10\.0\.0\.1/8"):
        rules("db-1", SSH, admin=["10.0.0.1/8"])
