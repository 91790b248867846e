# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: copying into a clone what it shares with its parent."""

from __future__ import annotations

from collections.abc import Callable

from .ceph import Ceph, as_our_errors
from .deadline import Overdue, within
from .errors import VirtfleetError

try:
    import rbd
except ImportError:
    HAS_RBD = False
else:
    HAS_RBD = True


def flatten(ceph: Ceph, volume: str, seconds: float, progress: Callable[[int, int], None]) -> None:
    """Flatten a volume, object by object, whether it is in use or not: librbd has the client that writes to it do it.

    Args:
        seconds: how long to wait for it.
        progress: is told how many objects of how many are done.

    Raises:
        VirtfleetError: timeout; what was copied stays copied.
    """

    def report(done: int, total: int) -> int:
        progress(done, total)
        return 0  # anything else would end it

    def run() -> None:
        with rbd.Image(ceph.ioctx, volume) as image:
            image.flatten(on_progress=report)

    with as_our_errors(f"flattening volume {volume}"):
        try:
            within(seconds, run)
        except Overdue:
            raise VirtfleetError(
                "timeout",
                f"Volume {volume} is not flat after {seconds:g} s",
                "What was copied stays so; run again with a larger timeout.",
            ) from None
