# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that makes the rules of a host's firewall from the table of who may talk to whom."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.errors import Invalid
from ..module_utils.firewall_plan import Site, plan_rules


def firewall_rules(
    services: Iterable[Mapping[str, Any]],
    host: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    networks: Mapping[str, Sequence[str]],
    management: Sequence[str] = (),
) -> dict[str, Any]:
    """The sets and rules of a host."""
    site = Site(groups, lambda name: _addresses(name, hostvars[name]), networks, management)
    try:
        return asdict(plan_rules(services, host, site))
    except Invalid as error:
        raise AnsibleFilterError(str(error)) from error


def _addresses(name: str, variables: Mapping[str, Any]) -> list[str]:
    own = [str(variables.get("ansible_host") or name), *map(str, variables.get("firewall_addresses") or [])]
    return [address for one in own for address in _resolved(one, name)]


def _resolved(text: str, host: str) -> list[str]:
    try:
        return [str(ip_address(text))]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(text, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AnsibleFilterError(
            f"{text}, the address of {host}, cannot be resolved here ({error}): set its ansible_host to an IP address."
        ) from error
    return sorted({str(address[4][0]) for address in found})


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"firewall_rules": firewall_rules}
