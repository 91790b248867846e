# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the collection: each has a stable code, a message and a hint that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CODES = (
    "invalid",
    "conflict",
    "busy",
    "no_capacity",
    "quota",
    "not_found",
    "needs_consent",
    "in_use_elsewhere",
    "unreachable",
    "timeout",
    "backend",
)


class VirtfleetError(Exception):
    """A failure that a user can act on.

    Args:
        code: one of CODES; programs decide by it.
        message: one sentence for people. Never holds a secret.
        hint: what to do next.
        problems: every single finding where there is more than one.

    Attributes:
        untouched: it is known that nothing was done.
    """

    untouched = False

    def __init__(self, code: str, message: str, hint: str = "", problems: Sequence[str] = ()) -> None:
        if code not in CODES:
            raise ValueError(f"unknown error code {code!r}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)

    def __str__(self) -> str:
        text = self.message
        if self.problems:
            text += ": " + "; ".join(self.problems)
        return f"{text}. {self.hint}" if self.hint else text

    def as_result(self) -> dict[str, Any]:
        """The `error` value of a module result."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "problems": list(self.problems)}


class Invalid(VirtfleetError):
    """What was asked for cannot be: every problem is listed at once."""

    def __init__(self, problems: Sequence[str], message: str = "The request is not valid", hint: str = "") -> None:
        super().__init__("invalid", message, hint or "Nothing was touched; correct the values and run again.", problems)


class Conflict(VirtfleetError):
    """What is there contradicts what was asked for."""

    def __init__(self, message: str, hint: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__("conflict", message, hint, problems)


class NotFound(VirtfleetError):
    """What was named does not exist (and the read that says so succeeded)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("not_found", message, hint)


class Unreachable(VirtfleetError):
    """A service did not answer: nothing is known about what it holds."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("unreachable", message, hint)


class Backend(VirtfleetError):
    """A service answered with an error."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("backend", message, hint)
