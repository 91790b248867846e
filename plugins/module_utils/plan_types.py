# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plans are made from and made of: what was seen, what is wanted, steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .spec import DataDisk, Source

STATES = ("present", "running", "stopped", "suspended", "absent")

GIB = 1024**3

# Kind (network, bridge) and name of what an interface is connected to.
Link = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Hardware:
    """Memory in MiB and virtual CPUs, each with the maximum up to which a running domain can be given more."""

    memory_mib: int
    memory_max_mib: int
    vcpus: int
    vcpus_max: int


@dataclass(frozen=True, slots=True)
class DomainView:
    """One of the two sides of a domain: its definition, or the process that runs.

    Attributes:
        volumes: the target device of every RBD image among its disks.
    """

    hardware: Hardware
    volumes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A libvirt domain as seen: `state` is running, suspended or stopped; `owned_id` the VM id in its metadata.

    `defined` is what it has at its next start, `live` what it has now; None while it is stopped.
    """

    uuid: str
    state: str
    owned_id: str | None
    defined: DomainView | None = None
    live: DomainView | None = None


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """An RBD image as seen. `parent` is `image@snapshot`; `vm_id`, `seed_sha256` and `record` are our marks on it."""

    size_bytes: int
    parent: str | None
    vm_id: str | None
    seed_sha256: str | None
    watchers: int
    record: str | None = None


@dataclass(frozen=True, slots=True)
class TrashedVolume:
    """A volume in the trash. Until `expires_at` nobody but us removes it."""

    trash_id: str
    name: str
    vm_id: str
    deleted_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A golden image: its size, and the pinned snapshot that volumes are cloned from."""

    size_bytes: int
    snapshot: str


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """A snapshot of another VM that this one may be cloned from.

    Attributes:
        sizes: that of each volume at that moment in bytes, by the name of its disk.
        problem: why it cannot be cloned from, or None.
    """

    name: str
    sizes: Mapping[str, int]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything about one VM on one node and in the pool. None means: seen to be absent (never: could not be read).

    `others` are the volumes of the VM beside root and seed, by name; `trashed` those in the trash, where they matter;
    `links` what the node's VMs can be connected to, where that matters, and `tags_vlans` whether it can tag VLANs.
    `unnamed` are what a run that was cut off left of volumes that had not got their names yet. `snapshots` are those of
    the VM that this one is to be cloned from, the oldest first.
    """

    domain: DomainFacts | None
    root: VolumeFacts | None
    seed: VolumeFacts | None
    image: ImageFacts | None
    owner: str | None
    others: Mapping[str, VolumeFacts] = field(default_factory=dict)
    trashed: tuple[TrashedVolume, ...] = ()
    links: frozenset[Link] = frozenset()
    tags_vlans: bool = False
    unnamed: tuple[str, ...] = ()
    snapshots: tuple[SourceSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """What is needed to make the VM where it is not there yet: from `source`, or from the image where that is None.

    Attributes:
        links: what its interfaces are connected to.
        vlans: whether one of them is in a VLAN.
    """

    image: str
    disk_gib: int
    seed_sha256: str
    links: tuple[Link, ...] = ()
    vlans: bool = False
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a VM that is there must have. None: leave it as it is.

    Attributes:
        disks: all data disks of the VM; another one is detached.
    """

    hardware: Hardware | None = None
    disk_gib: int | None = None
    disks: tuple[DataDisk, ...] | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """What was asked for. Without `build` only a VM that is there can be acted on.

    Attributes:
        allow_power_cycle: a change that a running VM cannot take is made by stopping and starting it.
        restore: the volumes are to come from the trash, not from the image.
        remove_detached: a data disk that is detached goes to the trash instead of being kept.
        record: what the registry has of the VM, to be kept with its root volume; None leaves what is there.
    """

    name: str
    id: str
    node: str
    state: str
    build: Build | None = None
    force: bool = False
    purge: bool = False
    sizes: Sizes = Sizes()
    allow_power_cycle: bool = False
    remove_detached: bool = False
    restore: bool = False
    record: str | None = None

    def volume(self, disk: str) -> str:
        """The volume of a disk of this VM."""
        return f"{self.name}.{disk}"

    @property
    def root_volume(self) -> str:
        return f"{self.name}.root"

    @property
    def seed_volume(self) -> str:
        return f"{self.name}.seed"


@dataclass(frozen=True, slots=True)
class Step:
    """One side effect: `action` names it (see run.EXECUTORS), `target` is what it acts on."""

    action: str
    target: str
    detail: dict[str, Any] = field(default_factory=dict)

    def as_text(self) -> str:
        return f"{self.action} {self.target}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered steps, and the VM before and after them as the diff shows it."""

    steps: tuple[Step, ...]
    before: dict[str, Any]
    after: dict[str, Any]
    restart_required: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.steps)

    @property
    def actions(self) -> list[str]:
        return [step.as_text() for step in self.steps]
