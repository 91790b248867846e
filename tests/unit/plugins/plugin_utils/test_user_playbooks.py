# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Lists and mappings can be given as text, which is what a survey of AWX gives."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.plugin_utils.user_playbooks import read_text


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("list", "[{name: data, size: 5}]", [{"name": "data", "size": 5}]),
        ("list", "- web\n- db", ["web", "db"]),
        ("list", "web", "web"),  # one item, as whoever reads it takes it
        ("list", "[ -e /x ] && reboot", "[ -e /x ] && reboot"),
        ("list", ["web"], ["web"]),
        ("dict", "{rack: a}", {"rack": "a"}),
        ("yaml", "web", "web"),
        ("yaml", "2024", "2024"),
        ("yaml", "group: web\nhard: false", {"group": "web", "hard": False}),
        ("str", "[a]", "[a]"),
    ],
)
def test_texts_that_stand_for_more(kind: str, value: Any, read: Any) -> None:
    assert read_text({"type": kind}, value) == read
