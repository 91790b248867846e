# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a golden image comes from: a file or an URL as one stream, checked and decompressed as it passes.

Memory is bounded: no more than a few megabytes are held, whatever the size of the image and however well it is packed.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.client
import io
import lzma
import re
import urllib.error
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.urls import open_url

from .errors import Backend, Conflict, Invalid, NotFound, Unreachable
from .image_plan import Checksum

try:
    import zstandard
except ImportError:
    HAS_ZSTANDARD = False
else:
    HAS_ZSTANDARD = True

CHUNK = 4 * 1024 * 1024
_HEAD = 1024
_SILENCE_SECONDS = 30
# bz2 and gzip say OSError of a damaged file.
_DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error)

Progress = Callable[[int, "int | None"], None]


class Source(io.RawIOBase):
    """The bytes of a file or an answer, hashed and counted as they are read.

    Args:
        label: what it is called in messages.
        size: how many bytes it has, where that is known.
        algorithm: of the checksum that it will be compared by; SHA-256 is computed always.
        progress: is told how many bytes of how many were read.
    """

    def __init__(self, stream: Any, label: str, size: int | None, algorithm: str, progress: Progress) -> None:
        super().__init__()
        self._stream = stream
        self.label = label
        self._size = size
        self._progress = progress
        self._read = 0
        self._hashes = {name: hashlib.new(name) for name in ("sha256", algorithm)}

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"{self.label} ended before its end: {error}", "Nothing was imported; run again."
            ) from None
        if not data and self._size is not None and self._read < self._size:
            raise Unreachable(
                f"{self.label} ended after {self._read} of {self._size} bytes", "Nothing was imported; run again."
            )
        buffer[: len(data)] = data
        for digest in self._hashes.values():
            digest.update(data)
        self._read += len(data)
        self._progress(self._read, self._size)
        return len(data)

    def checksums(self) -> dict[str, str]:
        """The checksums of all of it by algorithm."""
        while self.read(CHUNK):
            pass  # What follows the end of a compressed stream belongs to the file as well.
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}


def verify(found: dict[str, str], wanted: Checksum | None, label: str) -> None:
    """Refuse content that is not what its checksum says.

    Raises:
        Conflict: it is not.
    """
    if wanted is not None and found[wanted.algorithm] != wanted.digest:
        raise Conflict(
            f"The checksum of {label} did not match {wanted}; it has {wanted.algorithm}:{found[wanted.algorithm]}",
            "Nothing was imported. See whether the file is complete and the checksum is that of this file.",
        )


@contextmanager
def open_source(path: str | None, url: str | None, wanted: Checksum | None, progress: Progress) -> Iterator[Source]:
    """The file or the answer of the server.

    Raises:
        Invalid: the checksum's algorithm is not known, or the URL is none of http, https and ftp.
        NotFound: there is no such file.
        Unreachable: the server does not give it.
    """
    algorithm = wanted.algorithm if wanted else "sha256"
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        raise Invalid([f"checksum algorithm {algorithm} is not known here; sha256 and sha512 are"])
    stream, size = _open_file(path) if url is None else _open_url(url)
    with stream:
        yield Source(stream, shown_url(url) if url else str(path), size, algorithm, progress)


def _open_file(path: str | None) -> tuple[Any, int | None]:
    if path is None:
        raise Invalid(["the image is not there, and neither src nor url is given"])
    try:
        return open(path, "rb"), Path(path).stat().st_size
    except OSError as error:
        raise NotFound(
            f"{path} cannot be read: {error.strerror}", "Give the path of a disk image on the node."
        ) from None


def _open_url(url: str) -> tuple[Any, int | None]:
    if not re.match("(https?|ftp)://", url):
        raise Invalid([f"url {shown_url(url)} begins with none of http://, https:// and ftp://"])
    try:
        answer = open_url(url, timeout=_SILENCE_SECONDS, decompress=False)
    except urllib.error.HTTPError as error:
        raise Unreachable(f"{shown_url(url)} is not given: {error.code} {error.reason}", "Check the URL.") from None
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"{shown_url(url)} does not answer: {getattr(error, 'reason', error)}",
            "Check the URL, and that this node reaches it.",
        ) from None
    length = answer.headers.get("Content-Length")
    return answer, int(length) if length else None


def shown_url(url: str) -> str:
    """The URL without user name, password and query, which may be secrets."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]


@dataclass(frozen=True, slots=True)
class Content:
    """What a source holds, unpacked: its bytes, its format as qemu-img calls it, and whether it was packed at all."""

    stream: io.BufferedReader[Any]
    kind: str
    packed: bool

    def chunks(self) -> Iterator[bytes]:
        """All of it in pieces of CHUNK bytes, only the last one shorter."""
        while chunk := self.stream.read(CHUNK):
            yield chunk


def content_of(source: Source) -> Content:
    """What the source holds, unpacked where its first bytes say that it is packed.

    Raises (the first also where it is read):
        Invalid: what is packed is damaged or ends too early, or it is certainly no disk image.
        Backend: this node cannot unpack it.
    """
    file = io.BufferedReader(source, CHUNK)
    unpacking = _unpacking(file)
    stream = io.BufferedReader(_Unpacked(unpacking, source.label), CHUNK)
    return Content(stream, _format(stream.peek(_HEAD), source.label), unpacking is not file)


class _Unpacked(io.RawIOBase):
    """A stream that unpacks; what it says of damage is an error of ours."""

    def __init__(self, stream: Any, label: str) -> None:
        super().__init__()
        self._stream = stream
        self._label = label

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except _DAMAGED as error:
            problem = f"{self._label} is damaged or truncated: {error}"
            raise Invalid([problem], "The image cannot be read", "Nothing was imported. Get the file again.") from None
        buffer[: len(data)] = data
        return len(data)


def _unpacking(packed: io.BufferedReader[Any]) -> Any:
    magic = packed.peek(6)[:6]
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if magic == b"\xfd7zXZ\0":
        return lzma.LZMAFile(packed)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return _Zstandard(packed)
    return packed


class _Zstandard(io.RawIOBase):
    """Unpacks Zstandard and, unlike the reader of the library, notices an early end."""

    # Four bytes may stand for 128 KiB of zeros, so this much for 16 MiB.
    _PIECE = 512

    def __init__(self, packed: io.BufferedReader[Any]) -> None:
        super().__init__()
        if not HAS_ZSTANDARD:
            raise Backend("This node cannot unpack Zstandard", "Install python3-zstandard of the distribution.")
        self._packed = packed
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and (piece := self._packed.read(self._PIECE)):
            self._unpack(piece)
        if not self._ready and self._frame is not None:
            raise EOFError("it ends before the end of the compressed stream")
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self, piece: bytes) -> None:
        parts = []
        while piece:
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                parts.append(self._frame.decompress(piece))
            except zstandard.ZstdError as error:
                raise EOFError(str(error)) from None
            piece = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        self._ready = b"".join(parts)


# What a file begins with, where, and how qemu-img calls its format.
_FORMATS = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
)
_NO_DISKS = (
    (0, b"# Disk DescriptorFile", "a VMDK with its data in other files; use 'qemu-img convert' first"),
    (0, b"COWD", "a VMDK of an old kind; use 'qemu-img convert' first"),
    (0, b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (257, b"ustar", "a tar archive (an OVA?); unpack it, and import the disk in it"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
)


def _format(head: bytes, label: str) -> str:
    """The format by the first bytes, as qemu-img calls it; what begins like nothing known is raw.

    Raises:
        Invalid: it is certainly no disk image.
    """
    if not head:
        raise Invalid([f"{label} is empty"], "The image cannot be read", "Nothing was imported.")
    for offset, magic, what in _NO_DISKS:
        if head[offset:].startswith(magic):
            raise Invalid([f"{label} is {what}"], "The image cannot be read", "Nothing was imported.")
    for offset, magic, name in _FORMATS:
        if head[offset:].startswith(magic):
            return name
    return "raw"
