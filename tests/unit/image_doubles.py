# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The golden images of a pool in memory, with the interface of ImageStore; it counts what changes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict
from ansible_collections.virtfleet.cloud.plugins.module_utils.image_names import split, versions
from ansible_collections.virtfleet.cloud.plugins.module_utils.image_plan import Descendant, StoredImage


@dataclass
class Pool:
    """What outlives a module run. The content of an image is what was written to it."""

    images: dict[str, StoredImage] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    descendants: dict[str, tuple[Descendant, ...]] = field(default_factory=dict)
    trash: list[str] = field(default_factory=list)
    partial: set[str] = field(default_factory=set)
    mutations: list[str] = field(default_factory=list)


class FakeNewImage:
    """NewImage over a Pool."""

    def __init__(self, pool: Pool, name: str) -> None:
        self.pool = pool
        self.name = name
        self.content = b""
        self.checksums: dict[str, str] = {}

    def resize(self, size_bytes: int) -> None:
        self.content = self.content[:size_bytes].ljust(size_bytes, b"\0")

    def write(self, chunks: Iterable[bytes]) -> None:
        self.content = b"".join(chunks)

    def describe(self, checksums: Mapping[str, str]) -> None:
        self.checksums = dict(checksums)


class FakeImageStore:
    """ImageStore over a Pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def versions(self, name: str) -> dict[str, StoredImage]:
        return {image: self.pool.images[image] for image in versions(self.pool.images, split(name)[0])}

    def images(self) -> dict[str, StoredImage]:
        return dict(sorted(self.pool.images.items()))

    def trashed(self) -> list[tuple[str, str, StoredImage]]:
        return []

    def importing(self) -> list[str]:
        return sorted(self.pool.partial)

    def descendants(self, name: str, _image_id: str | None = None) -> tuple[Descendant, ...]:
        return self.pool.descendants.get(name, ())

    @contextmanager
    def new(self, name: str) -> Iterator[FakeNewImage]:
        self.pool.mutations.append("import")
        self.pool.partial.add(name)
        image = FakeNewImage(self.pool, f"{name}.importing")
        try:
            yield image
        finally:
            self.pool.partial.discard(name)
        self.pool.contents[name] = image.content
        facts = StoredImage(len(image.content), "golden", "2026-11-24T00:00:00Z")
        self.pool.images[name] = replace(facts, checksums=image.checksums)

    def trash(self, name: str, _retention_seconds: int) -> None:
        self.pool.mutations.append("trash")
        del self.pool.images[name]
        self.pool.trash.append(name)

    def remove(self, name: str) -> None:
        self.pool.mutations.append("remove")
        if self.pool.descendants.get(name):
            raise Conflict("it has clones")
        del self.pool.images[name]
