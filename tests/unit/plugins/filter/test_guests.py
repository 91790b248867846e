# SPDX-License-Identifier: GPL-3.0-or-later
"""The guests as Prometheus looks for them."""

from __future__ import annotations

from typing import Any

from ansible_collections.virtfleet.cloud.plugins.filter.guests import guest_targets


def vm(name: str, ip: str | None) -> dict[str, Any]:
    return {"name": name, "ip": ip, "node": "node-1", "project": "default"}


def test_each_has_its_name_and_where_it_is() -> None:
    assert guest_targets([vm("web-1", "10.0.0.7")], 9100) == [
        {
            "targets": ["10.0.0.7:9100"],
            "labels": {"instance": "web-1", "node": "node-1", "project": "default"},
        }
    ]


def test_one_without_an_address_is_left_out() -> None:
    assert guest_targets([vm("new-1", None)], 9100) == []


def test_an_address_of_ipv6_is_told_from_the_port() -> None:
    assert guest_targets([vm("six-1", "fd00::7")], 80)[0]["targets"] == ["[fd00::7]:80"]
