# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A rate that is kept, and a deadline."""

from __future__ import annotations

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.pace import MIB, Pace


class Clock:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_rate_is_kept_over_all_that_passes() -> None:
    clock = Clock()
    pace = Pace(2, 60, clock, clock.sleep)
    told: list[int] = []
    for _stream in range(2):
        assert sum(map(len, pace.hold([bytes(MIB)] * 5, told.append))) == 5 * MIB
    assert clock.now == pytest.approx(105) and told[-1] == 5 * MIB


def test_without_a_rate_nothing_waits() -> None:
    clock = Clock()
    list(Pace(None, 60, clock, clock.sleep).hold([bytes(MIB)] * 5))
    assert clock.now == 100


def test_it_gives_up_in_time() -> None:
    clock = Clock()
    with pytest.raises(VirtfleetError, match=r"not done within 3 s.*larger timeout") as late:
        list(Pace(1, 3, clock, clock.sleep).hold([bytes(MIB)] * 9))
    assert late.value.code == "timeout" and clock.now < 106
