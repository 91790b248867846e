# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to a golden image: (wanted, observed) -> Plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Conflict, Invalid
from .image_names import PATTERN, RULE, split
from .plan_types import Plan, Step


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of an image's source, like sha256:... in lower case."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest}"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A golden image in the pool. `checksums` are those of its source, by algorithm; an old image has none."""

    size_bytes: int
    snapshot: str
    created_at: str
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Descendant:
    """A volume that hangs on an image, directly (depth 1) or as a clone of such a volume."""

    volume: str
    vm_id: str | None
    depth: int
    in_trash: bool

    def as_text(self) -> str:
        return f"{self.volume} (in the trash)" if self.in_trash else self.volume


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Attributes:
        reuse: take another version that was made of the same source for it.
        trash: move an absent image to the trash, where volumes can go on hanging on it.
    """

    name: str
    present: bool
    checksum: Checksum | None = None
    reuse: bool = False
    trash: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """All versions of the image's name by their full name, and what hangs on the image itself."""

    versions: Mapping[str, StoredImage]
    descendants: tuple[Descendant, ...] = ()


def read_checksum(text: str | None) -> Checksum | None:
    """Read ALGORITHM:HEX.

    Raises:
        Invalid: it is not of that form; whether the algorithm is known is not seen here.
    """
    if text is None:
        return None
    algorithm, _colon, digest = text.strip().lower().partition(":")
    if not algorithm.isalnum() or not digest or set(digest) - set("0123456789abcdef"):
        raise Invalid([f"checksum {text!r} is not like sha256:... or sha512:..., in hexadecimal"])
    return Checksum(algorithm, digest)


def same_image(wanted: Wanted, seen: Seen) -> str | None:
    """The image that is what was asked for: the one of this name, or a version that may be taken for it."""
    if wanted.name in seen.versions:
        return wanted.name
    checksum = wanted.checksum
    if not wanted.reuse or checksum is None:
        return None
    same = [name for name, image in seen.versions.items() if image.checksums.get(checksum.algorithm) == checksum.digest]
    return same[-1] if same else None


def decide_image(wanted: Wanted, seen: Seen) -> Plan:
    """The steps from what is there to what was asked for.

    Raises:
        VirtfleetError: it is refused.
    """
    if not PATTERN.fullmatch(wanted.name):
        raise Invalid([f"image {wanted.name!r} is not {RULE}"])
    steps = _present(wanted, seen) if wanted.present else _absent(wanted, seen)
    return Plan(tuple(steps), _view(same_image(wanted, seen) is not None), _view(wanted.present))


def _present(wanted: Wanted, seen: Seen) -> list[Step]:
    there = seen.versions.get(wanted.name)
    if there is not None:
        _refuse_other_content(wanted, there)
    if same_image(wanted, seen) is not None:
        return []
    return [Step("import", wanted.name)]


def _refuse_other_content(wanted: Wanted, there: StoredImage) -> None:
    """A version is what it is for ever; an image without a version is left alone, whatever its source says now."""
    checksum = wanted.checksum
    if checksum is None or split(wanted.name)[1] is None:
        return
    known = there.checksums.get(checksum.algorithm)
    if known is not None and known != checksum.digest:
        raise Conflict(
            f"Image {wanted.name} is there, made of a source with {checksum.algorithm}:{known}, not {checksum}",
            "Give the new content another version (image_version).",
        )


def _absent(wanted: Wanted, seen: Seen) -> list[Step]:
    if wanted.name not in seen.versions:
        return []
    if wanted.trash:
        return [Step("trash", wanted.name)]
    if seen.descendants:
        raise Conflict(
            f"Volumes hang on image {wanted.name}",
            "Delete or flatten these VMs first (flatten_vm.yml), empty the trash of its volumes, or move the image"
            " to the trash, where they can go on (trash=true).",
            [descendant.as_text() for descendant in seen.descendants],
        )
    return [Step("remove", wanted.name)]


def _view(there: bool) -> dict[str, Any]:
    return {"image": "present" if there else "absent"}
