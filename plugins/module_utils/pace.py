# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bound on how fast and how long data is moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from .errors import VirtfleetError

MIB = 1024**2


class Pace:
    """Holds a stream to a rate and to a deadline.

    Args:
        rate: MiB per second at most, over all that passes; None is as fast as it goes.
        seconds: after so many it gives up.
    """

    def __init__(
        self,
        rate: float | None,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_per_second = rate * MIB if rate else None
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._begin = clock()
        self._passed = 0

    def hold(self, parts: Iterable[bytes], progress: Callable[[int], None] = lambda _passed: None) -> Iterator[bytes]:
        """The same parts, not faster than the rate.

        Raises:
            VirtfleetError: timeout.
        """
        passed = 0
        for part in parts:
            yield part
            passed += len(part)
            progress(passed)
            self._wait(len(part))

    def _wait(self, count: int) -> None:
        self._passed += count
        gone = self._clock() - self._begin
        if gone > self._seconds:
            raise VirtfleetError(
                "timeout", f"It was not done within {self._seconds:g} s", "Run again with a larger timeout, or rate."
            )
        if self._bytes_per_second and (ahead := self._passed / self._bytes_per_second - gone) > 0:
            self._sleep(ahead)
