# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Names and versions of images."""

from __future__ import annotations

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.image_names import PATTERN, choose, split, versions
from hypothesis import given
from hypothesis import strategies as st

THERE = ["debian-13", "debian-13:2026-11-24", "debian-13:2027-01-02", "app:1.9", "app:1.10", "other"]
NAMES = st.from_regex(PATTERN, fullmatch=True)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("debian-13", "debian-13:2027-01-02"),
        ("debian-13:2026-11-24", "debian-13:2026-11-24"),
        ("debian-13:2026-11-25", None),
        ("app", "app:1.10"),
        ("other", "other"),
        ("debian", None),
    ],
)
def test_a_name_means_its_highest_version(wanted: str, chosen: str | None) -> None:
    assert choose(THERE, wanted) == chosen


def test_an_image_without_version_is_lower_than_all_that_have_one() -> None:
    assert versions(THERE, "debian-13") == THERE[:3]


@pytest.mark.parametrize("name", ["", ":1", "a:", "a:b:c", "A", "a@b", "a/b", "a:B", "-a", "a:1-", "a" * 64])
def test_what_is_no_name(name: str) -> None:
    assert not PATTERN.fullmatch(name)


@given(st.lists(NAMES, min_size=1))
def test_what_is_chosen_is_there_and_has_the_name(names: list[str]) -> None:
    for wanted in names:
        assert choose(names, wanted) == wanted or split(wanted)[1] is None
        chosen = choose(names, split(wanted)[0])
        assert chosen in names and split(chosen)[0] == split(wanted)[0]
