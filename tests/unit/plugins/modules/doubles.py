# SPDX-License-Identifier: GPL-3.0-or-later
"""In-memory Ceph and libvirt with the interface of the adapters; they count what changes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ansible_collections.virtfleet.cloud.plugins.module_utils.domain_xml import owned_metadata
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Conflict
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan import GIB, DomainFacts, ImageFacts, VolumeFacts


@dataclass
class World:
    """What outlives a module run."""

    volumes: dict[str, VolumeFacts] = field(default_factory=dict)
    trash: dict[str, VolumeFacts] = field(default_factory=dict)
    images: dict[str, ImageFacts] = field(default_factory=lambda: {"img": ImageFacts(2 * GIB, "golden")})
    owners: dict[str, str] = field(default_factory=dict)
    domains: dict[str, DomainFacts] = field(default_factory=dict)
    xml: dict[str, str] = field(default_factory=dict)
    guest_obeys: bool = True
    mutations: list[str] = field(default_factory=list)
    fail_at: str | None = None

    def mutate(self, what: str) -> None:
        if what == self.fail_at:
            raise KeyboardInterrupt(what)
        self.mutations.append(what)


class FakeCeph:
    """Ceph over a World."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> FakeCeph:
        return self

    def __exit__(self, *_unused: object) -> None:
        pass

    def monitors(self) -> tuple[tuple[str, int], ...]:
        return (("10.0.0.1", 6789),)

    def volume(self, name: str) -> VolumeFacts | None:
        return self.world.volumes.get(name)

    def image(self, name: str) -> ImageFacts | None:
        return self.world.images.get(name)

    def owner(self, vm_id: str) -> str | None:
        return self.world.owners.get(vm_id)

    def clone(self, image: str, snapshot: str, volume: str) -> None:
        self.world.mutate("clone")
        self.world.volumes[volume] = VolumeFacts(
            self.world.images[image].size_bytes, f"{image}@{snapshot}", None, None, 0
        )

    def grow(self, volume: str, size_bytes: int) -> None:
        self.world.mutate("grow")
        self.world.volumes[volume] = replace(self.world.volumes[volume], size_bytes=size_bytes)

    def mark(self, volume: str, vm_id: str) -> None:
        self.world.mutate("mark")
        self.world.volumes[volume] = replace(self.world.volumes[volume], vm_id=vm_id)

    def write_seed(self, volume: str, content: bytes, vm_id: str, sha256: str) -> None:
        self.world.mutate("write_seed")
        self.world.volumes[volume] = VolumeFacts(len(content), None, vm_id, sha256, 0)

    def trash(self, volume: str, retention_seconds: int) -> None:
        self.world.mutate("trash")
        self.world.trash[volume] = self.world.volumes.pop(volume)

    def remove(self, volume: str) -> None:
        self.world.mutate("remove")
        del self.world.volumes[volume]

    def take_ownership(self, vm_id: str, node: str) -> None:
        self.world.mutate("take_ownership")
        if vm_id in self.world.owners:
            raise Conflict("taken")
        self.world.owners[vm_id] = node

    def release_ownership(self, vm_id: str) -> None:
        self.world.mutate("release_ownership")
        self.world.owners.pop(vm_id, None)


class FakeHypervisor:
    """Hypervisor over a World."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> FakeHypervisor:
        return self

    def __exit__(self, *_unused: object) -> None:
        pass

    def domain(self, name: str) -> DomainFacts | None:
        return self.world.domains.get(name)

    def domains(self) -> dict[str, DomainFacts]:
        return dict(self.world.domains)

    def capacity(self) -> dict[str, int]:
        return {"vcpus": 8, "memory_mib": 4096}

    def address(self, name: str) -> str | None:
        return "192.0.2.1" if self.world.domains[name].state == "running" else None

    def define(self, xml: str) -> None:
        self.world.mutate("define")
        owned = owned_metadata(xml)
        name = xml.split("<name>")[1].split("</name>")[0]
        assert owned is not None
        self.world.xml[name] = xml
        self.world.domains[name] = DomainFacts(owned.id, "stopped", owned.id)

    def _become(self, action: str, name: str, state: str) -> None:
        self.world.mutate(action)
        self.world.domains[name] = replace(self.world.domains[name], state=state)

    def start(self, name: str) -> None:
        self._become("start", name, "running")

    def resume(self, name: str) -> None:
        self._become("resume", name, "running")

    def suspend(self, name: str) -> None:
        self._become("suspend", name, "suspended")

    def power_off(self, name: str) -> None:
        self._become("power_off", name, "stopped")

    def shut_down(self, name: str, seconds: int) -> bool:
        self.world.mutate("shut_down")
        if self.world.guest_obeys:
            self.world.domains[name] = replace(self.world.domains[name], state="stopped")
        return self.world.guest_obeys

    def undefine(self, name: str) -> None:
        self.world.mutate("undefine")
        del self.world.domains[name]
