# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The streams of backups: counted while they are written, compared with their manifests while they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from .backup_manifest import Kept, Manifest, Part
from .backup_storage import BackupStorage
from .errors import Conflict
from .pace import Pace
from .rbd_diff import Header, Piece, read_stream

Report = Callable[[int], None]


class Counter:
    """The size and the digest of what passes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def count(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            self.bytes += len(part)
            self._digest.update(part)
            yield part


def checked(
    place: BackupStorage, vm: str, manifest: Manifest, part: Part, pace: Pace, report: Report
) -> tuple[Header, Iterator[Piece]]:
    """The header and the pieces of a stream, which is compared with its manifest to its end.

    Raises:
        Conflict: it differs; the iterator raises it too.
    """
    counter = Counter()
    where = f"{manifest.backup}/{part.file}"
    parts = counter.count(pace.hold(place.read(vm, manifest.backup, part.file), report))
    with _named(where):
        header, pieces = read_stream(parts)
        if header != Header(part.from_snapshot, part.to_snapshot, part.size_bytes):
            raise Conflict("it is of another volume or snapshot", "Restore an older backup.")
    return header, _compared(pieces, counter, part, where)


def _compared(pieces: Iterator[Piece], counter: Counter, part: Part, where: str) -> Iterator[Piece]:
    with _named(where):
        yield from pieces
        if counter.sha256 != part.sha256:
            raise Conflict(f"it has the SHA-256 {counter.sha256}, not {part.sha256}", "Restore an older backup.")


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say which stream it is that differs."""
    try:
        yield
    except Conflict as error:
        raise Conflict(f"{where}: {error.message}", error.hint) from None


def verify(
    place: BackupStorage, vm: str, kept: Kept, manifests: Iterable[Manifest], pace: Pace, report: Report
) -> None:
    """Read backups with all that they build on, and compare.

    Raises:
        Conflict: with everything that is wrong with them.
    """
    problems: dict[str, None] = {}
    links: dict[str, Manifest] = {}
    for manifest in manifests:
        chain, missing = kept.chain(manifest)
        problems |= dict.fromkeys(missing)
        links |= {link.backup: link for link in chain}
    for link in links.values():
        lacking = "\n".join(kept.lacking(link))
        for part in link.parts:
            if f"{link.backup}/{part.file} " in lacking:
                continue
            try:
                for _piece in checked(place, vm, link, part, pace, report)[1]:
                    pass
            except Conflict as error:
                problems[error.message] = None
    if problems:
        raise Conflict(
            f"Backups of {vm} are damaged",
            "Restore one that does not build on these; the next backup with kind=full begins anew.",
            list(problems),
        )
