# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall's table of services says what the rest of the project says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.virtfleet.cloud.plugins.module_utils.preflight_finding import GROUPS
from ansible_collections.virtfleet.cloud.plugins.module_utils.preflight_host import PORTS

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = yaml.safe_load((ROOT / "roles" / "firewall" / "vars" / "main.yml").read_text())
SERVICES: list[dict[str, Any]] = VARIABLES["__firewall_services"]
CEPH = VARIABLES["__firewall_ceph"]
# A wide-open one has to be wanted here too.
PUBLIC = {"proxy-outside"}


def groups_of(service: dict[str, Any], key: str) -> list[str]:
    value = service.get(key, [])
    return CEPH if isinstance(value, str) else value


def test_it_speaks_of_groups_and_networks_that_there_are() -> None:
    for service in SERVICES:
        assert set(groups_of(service, "to")) | set(groups_of(service, "from")) <= {*GROUPS, "all"}, service
        assert set(service.get("networks", [])) <= set(VARIABLES["__firewall_networks"]), service


def test_only_the_outer_proxy_is_for_everybody() -> None:
    assert {service["name"] for service in SERVICES if "anywhere" in service.get("networks", [])} == PUBLIC


def test_names_are_given_once() -> None:
    names = [service["name"] for service in SERVICES]
    assert len(names) == len(set(names))


def test_every_port_of_the_preflight_is_let_in_on_its_group() -> None:
    for entry in PORTS:
        serving = [one for one in SERVICES if entry.port in one.get("tcp", []) and entry.group in groups_of(one, "to")]
        assert serving, entry


def named(cell: str) -> set[str]:
    return set(re.findall(r"[a-z_]+", cell)) & {*GROUPS, "all"}


def test_the_document_shows_every_service_and_who_is_let_in() -> None:
    text = (ROOT / "docs" / "firewall.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| .+ \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == [service["name"] for service in SERVICES]
    for (_name, serving, let_in), service in zip(rows, SERVICES, strict=True):
        assert named(serving) == set(groups_of(service, "to")), service
        assert let_in == "the same" or named(let_in) == set(groups_of(service, "from")), service
