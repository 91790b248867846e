# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM wrote to its serial console."""

from __future__ import annotations

from collections import deque

from .errors import Backend


def console_tail(directory: str, vm: str, lines: int) -> list[str]:
    """The last lines of the log of its console; none where nothing was written on this node yet.

    Raises:
        Backend: it cannot be read.
    """
    path = console_log_path(directory, vm)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\r\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Backend(f"{path} cannot be read: {error.strerror}") from None


def console_log_path(directory: str, vm: str) -> str:
    """The file that libvirt writes it to."""
    return f"{directory}/{vm}-console.log"
