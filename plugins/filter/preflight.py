# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that judge whether hosts can be deployed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

from ansible.errors import AnsibleError
from jinja2 import UndefinedError

from ..module_utils.preflight_finding import ERROR, GROUPS, INVENTORY, WARNING, Finding
from ..module_utils.preflight_host import host_findings
from ..module_utils.preflight_inventory import address_of, inventory_findings
from ..plugin_utils.table import table

WRITE_OUT = "Its template can be read on its own host only: write the value out."
COLUMNS = ("Host", "Level", "Check", "Finding", "Hint")


class _Variables(Mapping[str, Any]):
    """The variables of a host, without those whose templates cannot be read from here, as over hostvars."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self.unreadable: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        try:
            value = self._variables[name]
            # Some templates fail only when somebody looks.
            str(value)
        except (AnsibleError, UndefinedError) as error:
            self.unreadable.add(name)
            raise KeyError(name) from error
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def preflight_findings(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    asked: Collection[str],
    result: str,
    ignore: Collection[str] = (),
) -> list[dict[str, str]]:
    """What is wrong with the inventory and its hosts."""
    ours = {host for name in GROUPS for host in groups.get(name, [])}
    variables = {host: _Variables(hostvars[host]) for host in sorted(ours | set(asked))}
    told = {host: variables[host].get(result) or {} for host in asked}
    seen = {host: answer["host"] for host, answer in told.items() if "host" in answer}
    found = inventory_findings(groups, variables, seen)
    found += [finding for host in variables for finding in _names(host, variables)]
    for host in asked:
        mine = [name for name in GROUPS if host in groups.get(name, [])]
        found += host_findings(host, mine, told[host], variables[host], len(groups.get("database", [])))
    unreadable = {name for one in variables.values() for name in one.unreadable}
    found = [finding for finding in found if finding.finding.partition(" is not set")[0] not in unreadable]
    found += [
        Finding(INVENTORY, WARNING, "templates", f"{name} cannot be checked", WRITE_OUT) for name in sorted(unreadable)
    ]
    return [asdict(finding) for finding in found if not _is_ignored(finding, ignore)]


def _names(host: str, variables: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    address = address_of(host, variables)
    try:
        ip_address(address)
    except ValueError:
        try:
            socket.getaddrinfo(address, None)
        except OSError:
            hint = "Set ansible_host to its address, or add the name to DNS or /etc/hosts."
            yield Finding(host, ERROR, "names", f"{address} does not resolve on the controller", hint)


def _is_ignored(finding: Finding, ignore: Collection[str]) -> bool:
    return finding.level != ERROR and not {finding.check, f"{finding.host}:{finding.check}"}.isdisjoint(ignore)


def preflight_table(findings: Iterable[Mapping[str, str]]) -> str:
    """Errors first, then by host."""
    rows = [
        {column: finding[column.lower()] for column in COLUMNS}
        for finding in sorted(findings, key=lambda one: (one["level"], one["host"], one["check"], one["finding"]))
    ]
    return table(COLUMNS, rows) if rows else "Nothing is wrong."


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"preflight_findings": preflight_findings, "preflight_table": preflight_table}
