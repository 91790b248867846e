# SPDX-License-Identifier: GPL-3.0-or-later
"""In-memory Ceph and libvirt with the interface of the adapters; they count what changes them.

tests/adapters holds them and the real ones to the same behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ansible_collections.virtfleet.cloud.plugins.module_utils.domain_xml import owned_metadata
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Backend, Conflict
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
        if volume in self.world.volumes or image not in self.world.images:
            raise Backend("exists, or no such image")
        self.world.mutate("clone")
        self.world.volumes[volume] = VolumeFacts(
            self.world.images[image].size_bytes, f"{image}@{snapshot}", None, None, 0
        )

    def grow(self, volume: str, size_bytes: int) -> None:
        if size_bytes < self._existing(volume).size_bytes:
            raise Backend("shrinks")
        self.world.mutate("grow")
        self.world.volumes[volume] = replace(self.world.volumes[volume], size_bytes=size_bytes)

    def mark(self, volume: str, vm_id: str, request_sha256: str) -> None:
        marked = replace(self._existing(volume), vm_id=vm_id)
        self.world.mutate("mark")
        self.world.volumes[volume] = marked

    def write_seed(self, volume: str, content: bytes, vm_id: str, sha256: str) -> None:
        self.world.mutate("write_seed")
        self.world.volumes[volume] = VolumeFacts(len(content), None, vm_id, sha256, 0)

    def trash(self, volume: str, retention_seconds: int) -> None:
        self._existing(volume)
        self.world.mutate("trash")
        self.world.trash[volume] = self.world.volumes.pop(volume)

    def remove(self, volume: str) -> None:
        self._existing(volume)
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

    def _existing(self, volume: str) -> VolumeFacts:
        if volume not in self.world.volumes:
            raise Backend("no such volume")
        return self.world.volumes[volume]


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
        return "192.0.2.1" if self._existing(name).state == "running" else None

    def define(self, xml: str) -> None:
        self.world.mutate("define")
        owned = owned_metadata(xml)
        name = xml.split("<name>")[1].split("</name>")[0]
        uuid = xml.split("<uuid>")[1].split("</uuid>")[0]
        self.world.xml[name] = xml
        self.world.domains[name] = DomainFacts(uuid, "stopped", owned.id if owned else None)

    def _existing(self, name: str) -> DomainFacts:
        if name not in self.world.domains:
            raise Backend("no such domain")
        return self.world.domains[name]

    def _become(self, action: str, name: str, state: str, from_states: tuple[str, ...]) -> None:
        domain = self._existing(name)
        if domain.state not in from_states:
            raise Backend(f"cannot {action} a domain that is {domain.state}")
        self.world.mutate(action)
        self.world.domains[name] = replace(domain, state=state)

    def start(self, name: str) -> None:
        self._become("start", name, "running", ("stopped",))

    def resume(self, name: str) -> None:
        self._become("resume", name, "running", ("suspended",))

    def suspend(self, name: str) -> None:
        self._become("suspend", name, "suspended", ("running",))

    def power_off(self, name: str) -> None:
        self._become("power_off", name, "stopped", ("running", "suspended", "stopped"))

    def shut_down(self, name: str, seconds: int) -> bool:
        self._existing(name)
        if not self.world.guest_obeys:
            self.world.mutate("shut_down")
            return False
        self._become("shut_down", name, "stopped", ("running",))
        return True

    def undefine(self, name: str) -> None:
        self._existing(name)
        self.world.mutate("undefine")
        del self.world.domains[name]
