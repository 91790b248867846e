# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of golden images: NAME, or NAME:VERSION. Pure.

The same word is used everywhere: by users, in the registry, and as the name of the RBD image. A colon separates, as it
occurs in no name, and as RBD keeps '@' for snapshots.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SEPARATOR = ":"
_WORD = r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"
PATTERN = re.compile(rf"{_WORD}({SEPARATOR}{_WORD})?")
RULE = "NAME or NAME:VERSION, each 1 to 63 of a-z, 0-9 and . _ - in between"


def split(image: str) -> tuple[str, str | None]:
    """Name and version; the version is None where the image has none."""
    name, _separator, version = image.partition(SEPARATOR)
    return name, version or None


def versions(images: Iterable[str], name: str) -> list[str]:
    """The images of this name, the lowest version first; one without a version is lower than all that have one."""
    return sorted((image for image in images if split(image)[0] == name), key=_order)


def choose(images: Iterable[str], wanted: str) -> str | None:
    """The image that `wanted` means: a version by itself, a name its highest version. None where there is none."""
    there = list(images)
    if split(wanted)[1] is not None:
        return wanted if wanted in there else None
    found = versions(there, wanted)
    return found[-1] if found else None


def _order(image: str) -> list[tuple[int, int, str]]:
    """Numbers within a version are compared as numbers: 12.10 is higher than 12.9."""
    parts = re.findall(r"[0-9]+|[^0-9]+", split(image)[1] or "")
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
