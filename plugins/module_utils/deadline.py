# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bound on calls into C libraries that have none of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any


class Overdue(Exception):
    """The call has not returned in time. Whether it will do what it was told is not known."""


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """What `call` returns or raises, if it does so within `seconds`.

    A signal cannot do this, as its handler runs only once the C code has returned. An overdue call is left behind in a
    daemon thread, which ends with the process.

    Raises:
        Overdue: it has not returned.
    """
    outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((call(), None))
        except BaseException as error:  # handed over to the caller
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise Overdue from None
    if error is not None:
        raise error
    return value
