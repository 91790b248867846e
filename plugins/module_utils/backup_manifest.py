# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup says of itself, and which backups need each other. Pure.

A backup is a manifest and one stream for each volume of the VM. An incremental one has a parent, whose streams come
before its own; the chain of a backup is itself with all these.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import Conflict, NotFound
from .field_reader import name_problem

VERSION = 1
FULL, INCREMENTAL = "full", "incremental"
SEED = "seed"


@dataclass(frozen=True, slots=True)
class Part:
    """One volume of a VM in a backup.

    Attributes:
        disk: what its name is without that of the VM.
        size_bytes: of the volume; `bytes` is that of the stream in `file`.
        from_snapshot: what the stream builds on, or None where it holds all of the volume.
        snapshot_id: of `to_snapshot`. A snapshot of the same name that was made later has another.
        seed_sha256: the digest of the documents in a seed.
    """

    disk: str
    size_bytes: int
    file: str
    bytes: int
    sha256: str
    from_snapshot: str | None = None
    to_snapshot: str | None = None
    snapshot_id: int | None = None
    seed_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole backup.

    Attributes:
        backup: its name.
        number: grows with every backup of a VM, whatever the clocks say.
        reason: why it is a full one, or "".
        guest: how the guest was at that moment, see snapshot_plan.Record.
        vm: its `name`, `id` and `mac`, and as `request` what create_vm.yml would have to be given to make it.
    """

    backup: str
    number: int
    created_at: str
    kind: str
    parent: str | None
    reason: str
    guest: str
    node: str
    vm: Mapping[str, Any]
    parts: tuple[Part, ...]

    @property
    def vm_id(self) -> str:
        return str(self.vm["id"])

    def part(self, disk: str) -> Part | None:
        """What it holds of a volume."""
        return next((part for part in self.parts if part.disk == disk), None)

    def to_bytes(self) -> bytes:
        """As it is written to the destination."""
        data = {"version": VERSION} | {name: getattr(self, name) for name in self.__slots__}
        data["parts"] = [asdict(part) for part in self.parts]
        return json.dumps(data, indent=2, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """What to_bytes made.

        Raises:
            ValueError: it is none, or of another version.
        """
        try:
            data = json.loads(content)
            version = data.pop("version")
            if version != VERSION:
                raise ValueError(f"its manifest has version {version}, not {VERSION}")
            manifest = cls(**{**data, "parts": tuple(Part(**part) for part in data["parts"])})
            labels = [manifest.backup, *(part.disk for part in manifest.parts), manifest.vm["name"], manifest.vm["id"]]
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError):
            raise ValueError("its manifest cannot be read") from None
        # They become the names of volumes and files.
        if any(map(name_problem, labels)) or any("/" in str(part.file) for part in manifest.parts):
            raise ValueError("its manifest holds names that are none")
        return manifest

    def view(self) -> dict[str, Any]:
        """As results show it."""
        names = ("kind", "parent", "reason", "guest", "node", "created_at", "number")
        facts = {name: getattr(self, name) for name in names}
        sums = {name: sum(getattr(part, name) for part in self.parts) for name in ("bytes", "size_bytes")}
        vm = {"vm": self.vm["name"], "vm_id": self.vm_id, "volumes": [part.disk for part in self.parts]}
        return {"name": self.backup, "state": "whole", "problem": ""} | facts | vm | sums


@dataclass(frozen=True, slots=True)
class Kept:
    """What a destination holds of the VMs of one name.

    Attributes:
        manifests: the whole backups, the oldest first.
        partial: the names of what was cut off.
        broken: why the manifest of a backup cannot be used.
        sizes: the bytes of every file, by backup.
    """

    manifests: tuple[Manifest, ...] = ()
    partial: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of(self, vm_id: str) -> tuple[Manifest, ...]:
        """The backups of this VM; another one may have had its name."""
        return tuple(manifest for manifest in self.manifests if manifest.vm_id == vm_id)

    def get(self, backup: str) -> Manifest | None:
        return next((manifest for manifest in self.manifests if manifest.backup == backup), None)

    def choose(self, vm: str, backup: str | None) -> Manifest:
        """The backup of this name, or the newest.

        Raises:
            NotFound: there is none.
            Conflict: its manifest cannot be used.
        """
        if backup is not None and backup in self.broken:
            raise Conflict(f"Backup {vm}/{backup} is damaged: {self.broken[backup]}", "Choose another one.")
        found = self.get(backup) if backup else next(reversed(self.manifests), None)
        if found is None:
            raise NotFound(
                f"There is no backup {vm}/{backup}" if backup else f"There is no backup of a VM {vm}",
                "list_backups.yml shows those that there are.",
            )
        return found

    def chain(self, manifest: Manifest) -> tuple[tuple[Manifest, ...], list[str]]:
        """A backup with all that it builds on, the oldest first; and what of it is missing."""
        chain = [manifest]
        problems: list[str] = []
        while chain[0].parent is not None:
            before = self.get(chain[0].parent)
            if before is None or before.vm_id != manifest.vm_id or before.number >= chain[0].number:
                problems.append(f"backup {chain[0].parent}, which {chain[0].backup} builds on, is not there")
                break
            chain.insert(0, before)
        for link in chain:
            problems += self.lacking(link)
        return tuple(chain), problems

    def lacking(self, manifest: Manifest) -> list[str]:
        """Which files of a backup are missing, or have another size than they had."""
        sizes = self.sizes.get(manifest.backup, {})
        found = [(part, sizes.get(part.file)) for part in manifest.parts]
        return [
            f"{manifest.backup}/{part.file} is not there"
            if size is None
            else f"{manifest.backup}/{part.file} has {size} bytes, not {part.bytes}"
            for part, size in found
            if size != part.bytes
        ]

    def builds_on(self, backup: str) -> list[str]:
        """The backups that need this one."""
        return [
            manifest.backup
            for manifest in self.manifests
            if manifest.backup != backup and backup in [link.backup for link in self.chain(manifest)[0]]
        ]

    def beyond(self, manifests: Iterable[Manifest], keep: int) -> list[Manifest]:
        """Those that are neither among the newest nor needed by them; what builds on another comes before it."""
        ours = list(manifests)
        needed = {link.backup for manifest in ours[-keep:] for link in self.chain(manifest)[0]}
        return [manifest for manifest in reversed(ours) if manifest.backup not in needed]

    def views(self) -> list[dict[str, Any]]:
        """Everything that is there as results show it."""
        whole = [manifest.view() for manifest in self.manifests]
        for view, manifest in zip(whole, self.manifests, strict=True):
            problems = self.chain(manifest)[1]
            if problems:
                view |= {"state": "damaged", "problem": "; ".join(problems)}
        broken = [_bare(backup, "damaged", why) for backup, why in sorted(self.broken.items())]
        return whole + broken + [_bare(backup, "partial", "it was cut off") for backup in self.partial]


def _bare(backup: str, state: str, problem: str) -> dict[str, Any]:
    return {"name": backup, "state": state, "problem": problem}


def streams(chain: Iterable[Manifest], disk: str) -> list[tuple[Manifest, Part]]:
    """The streams that make a volume, in the order in which they are applied."""
    found: list[tuple[Manifest, Part]] = []
    for manifest in chain:
        part = manifest.part(disk)
        if part is None or part.from_snapshot is None:
            found = []
        if part is not None:
            found.append((manifest, part))
    return found
