# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Sources of images: what is packed, damaged, or no disk at all."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import image_source
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.image_plan import Checksum, read_checksum
from ansible_collections.virtfleet.cloud.plugins.module_utils.image_source import content_of, open_source, verify

MIB = 1024 * 1024
DISK = random.Random(7).randbytes(MIB) + bytes(9 * MIB) + random.Random(8).randbytes(MIB // 2)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda data: data,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "two streams": lambda data: gzip.compress(data[:MIB]) + gzip.compress(data[MIB:]),
}


def quiet(_done: int, _total: int | None) -> None:
    pass


def read(path: Path, wanted: Checksum | None = None) -> tuple[bytes, str]:
    """What the file holds, and its SHA-256."""
    with open_source(str(path), None, wanted, quiet) as source:
        data = b"".join(content_of(source).chunks())
        found = source.checksums()
        verify(found, wanted, source.label)
        return data, found["sha256"]


def written(directory: Path, data: bytes) -> Path:
    path = directory / "disk"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("packer", PACKERS)
def test_it_is_unpacked_and_its_checksum_is_that_of_the_file(tmp_path: Path, packer: str) -> None:
    packed = PACKERS[packer](DISK)
    data, checksum = read(written(tmp_path, packed))
    assert data == DISK
    assert checksum == hashlib.sha256(packed).hexdigest()


@pytest.mark.parametrize("packer", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("harm", ["truncated", "damaged"])
def test_damage_is_noticed(tmp_path: Path, packer: str, harm: str) -> None:
    packed = PACKERS[packer](DISK)
    middle = len(packed) // 2
    bad = packed[:middle] + (b"" if harm == "truncated" else bytes(100) + packed[middle + 100 :])
    with pytest.raises(VirtfleetError, match="damaged or truncated") as raised:
        read(written(tmp_path, bad))
    assert raised.value.code == "invalid"


def test_a_checksum_is_compared(tmp_path: Path) -> None:
    path = written(tmp_path, DISK)
    right = read_checksum("SHA512:" + hashlib.sha512(DISK).hexdigest().upper())
    read(path, right)
    with pytest.raises(VirtfleetError, match="did not match sha512:00"):
        read(path, Checksum("sha512", "00"))
    with pytest.raises(VirtfleetError, match="not known here"):
        read(path, Checksum("crc", "00"))


@pytest.mark.parametrize("text", ["", "abc", "sha256:", "sha256:xyz", "../:00"])
def test_what_is_no_checksum(text: str) -> None:
    with pytest.raises(VirtfleetError):
        read_checksum(text)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "vmdk"),
        (b"vhdxfile", "vhdx"),
        (b"conectix", "vpc"),
        (bytes(64) + b"\x7f\x10\xda\xbe", "vdi"),
        (b"\xeb\x63", "raw"),
    ],
)
def test_formats_are_known_by_their_beginning(tmp_path: Path, head: bytes, kind: str) -> None:
    with open_source(str(written(tmp_path, gzip.compress(head))), None, None, quiet) as source:
        content = content_of(source)
        assert (content.kind, content.packed) == (kind, True)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "is empty"),
        (b"# Disk DescriptorFile", "data in other files"),
        (b"PK\x03\x04", "ZIP"),
        (bytes(257) + b"ustar", "OVA"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_what_is_no_disk_is_refused(tmp_path: Path, head: bytes, words: str) -> None:
    with pytest.raises(VirtfleetError, match=words):
        read(written(tmp_path, head))


def test_memory_is_bounded_however_well_it_is_packed(tmp_path: Path) -> None:
    path = written(tmp_path, lzma.compress(bytes(64 * MIB), preset=0))
    tracemalloc.start()
    with open_source(str(path), None, None, quiet) as source:
        size = sum(len(chunk) for chunk in content_of(source).chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 64 * MIB and peak < 40 * MIB


class Answer(io.BytesIO):
    """What a server gives."""

    def __init__(self, data: bytes, length: int) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(length)}


def test_an_answer_that_ends_too_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_source, "open_url", lambda *_args, **_options: Answer(b"abc", 10))
    with (
        pytest.raises(VirtfleetError, match="ended after 3 of 10 bytes") as raised,
        open_source(None, "https://me:secret@images.example.org/a?token=secret", None, quiet) as source,
    ):
        list(content_of(source).chunks())
    assert raised.value.code == "unreachable" and "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["file:///etc/shadow", "gopher://x", "x"])
def test_only_the_network_has_urls(url: str) -> None:
    with pytest.raises(VirtfleetError, match="begins with none of"), open_source(None, url, None, quiet):
        pass


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    arguments: list[Any] = [str(tmp_path / "nothing"), None, None, quiet]
    with pytest.raises(VirtfleetError) as raised, open_source(*arguments):
        pass
    assert raised.value.code == "not_found"
