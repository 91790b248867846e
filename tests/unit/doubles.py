# SPDX-License-Identifier: GPL-3.0-or-later
"""In-memory Ceph and libvirt with the interface of the adapters; they count what changes them.

tests/adapters holds them and the real ones to the same behaviour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ansible_collections.virtfleet.cloud.plugins.module_utils.ceph import Marks
from ansible_collections.virtfleet.cloud.plugins.module_utils.domain_xml import (
    Monitors,
    hardware,
    owned_metadata,
    volumes,
    with_hardware,
    with_monitors,
)
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Backend, Conflict, VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.ownership import Ownership
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import (
    GIB,
    DomainFacts,
    DomainView,
    Hardware,
    ImageFacts,
    TrashedVolume,
    VolumeFacts,
)
from ansible_collections.virtfleet.cloud.plugins.module_utils.purge_plan import Holder

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


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
    links: frozenset[tuple[str, str]] = frozenset({("network", "default"), ("bridge", "br0")})
    tags_vlans: bool = True
    first_boots: list[str] = field(default_factory=list)
    full: bool = False
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

    def refuse_full(self, outcome: str) -> None:
        if self.world.full:
            raise VirtfleetError("no_capacity", "full", outcome)

    def monitors(self) -> tuple[tuple[str, int], ...]:
        return (("10.0.0.1", 6789),)

    def volume(self, name: str) -> VolumeFacts | None:
        return self.world.volumes.get(name)

    def volumes(self, vm: str) -> dict[str, VolumeFacts]:
        return {
            name: volume
            for name, volume in self.world.volumes.items()
            if name.startswith(f"{vm}.") and name.partition(".")[2] not in ("root", "seed")
        }

    def image(self, name: str) -> ImageFacts | None:
        return self.world.images.get(name)

    def owner(self, vm_id: str) -> str | None:
        return self.world.owners.get(vm_id)

    def ownership(self, vm_id: str) -> Ownership | None:
        node = self.world.owners.get(vm_id)
        return None if node is None else Ownership(node)

    def clone(self, image: str, snapshot: str, volume: str) -> None:
        if volume in self.world.volumes or image not in self.world.images:
            raise Backend("exists, or no such image")
        self.world.mutate("clone")
        self.world.volumes[volume] = VolumeFacts(
            self.world.images[image].size_bytes, f"{image}@{snapshot}", None, None, 0
        )

    def clone_volume(self, parent: str, snapshot: str, volume: str, size_bytes: int, marks: Marks) -> None:
        if volume in self.world.volumes:
            raise Backend("exists")
        self._existing(parent)
        making = f"{marks.vm_id}.{volume}.making"
        self.world.mutate("clone_volume")
        self.world.volumes[making] = VolumeFacts(size_bytes, f"{parent}@{snapshot}", marks.vm_id, None, 0)
        self.world.mutate("name")
        self.world.volumes[volume] = self.world.volumes.pop(making)

    def unnamed(self, vm_id: str) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.world.volumes if name.startswith(f"{vm_id}.")))

    def grow(self, volume: str, size_bytes: int) -> None:
        if size_bytes < self._existing(volume).size_bytes:
            raise Backend("shrinks")
        self.world.mutate("grow")
        self.world.volumes[volume] = replace(self.world.volumes[volume], size_bytes=size_bytes)

    def create_disk(self, volume: str, size_bytes: int, vm_id: str) -> None:
        if volume in self.world.volumes:
            raise Backend("exists")
        self.world.mutate("create_disk")
        self.world.volumes[volume] = VolumeFacts(size_bytes, None, vm_id, None, 0)

    def mark(self, volume: str, vm_id: str, request_sha256: str, record: str | None = None) -> None:
        there = self._existing(volume)
        marked = replace(there, vm_id=vm_id, record=there.record if record is None else record)
        self.world.mutate("mark")
        self.world.volumes[volume] = marked

    def keep_record(self, volume: str, record: str) -> None:
        kept = replace(self._existing(volume), record=record)
        self.world.mutate("keep_record")
        self.world.volumes[volume] = kept

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


class FakeTrash:
    """Trash over a World."""

    def __init__(self, ceph: FakeCeph) -> None:
        self.world = ceph.world

    def volumes(self, vm: str | None = None) -> tuple[TrashedVolume, ...]:
        return tuple(
            TrashedVolume(name, name, facts.vm_id, NOON, NOON)
            for name, facts in self.world.trash.items()
            if facts.vm_id and (vm is None or name.startswith(f"{vm}."))
        )

    def restore(self, volume: TrashedVolume) -> None:
        if volume.name in self.world.volumes:
            raise Backend("exists")
        self.world.mutate("restore")
        self.world.volumes[volume.name] = self.world.trash.pop(volume.trash_id)

    def holders(self, volume: TrashedVolume) -> tuple[Holder, ...]:
        alive = {name: (facts, False) for name, facts in self.world.volumes.items()}
        trashed = {name: (facts, True) for name, facts in self.world.trash.items()}
        return tuple(
            Holder(name, f"pool/{name}", in_trash)
            for name, (facts, in_trash) in (alive | trashed).items()
            if (facts.parent or "").startswith(f"{volume.name}@")
        )

    def remove(self, volume: TrashedVolume) -> None:
        self.world.mutate("purge")
        del self.world.trash[volume.trash_id]


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

    def definition(self, name: str) -> str:
        return self.world.xml[name]

    def capacity(self) -> dict[str, int]:
        return {"vcpus": 8, "memory_mib": 4096}

    def links(self) -> frozenset[tuple[str, str]]:
        return self.world.links

    def tags_vlans(self) -> bool:
        return self.world.tags_vlans

    def address(self, name: str) -> str | None:
        return "192.0.2.1" if self._existing(name).state == "running" else None

    def define(self, xml: str) -> None:
        self.world.mutate("define")
        owned = owned_metadata(xml)
        name = xml.split("<name>")[1].split("</name>")[0]
        uuid = xml.split("<uuid>")[1].split("</uuid>")[0]
        self.world.xml[name] = xml
        view = DomainView(hardware(xml), volumes(xml))
        self.world.domains[name] = DomainFacts(uuid, "stopped", owned.id if owned else None, view)

    def redefine(self, name: str, wanted: Hardware, request_sha256: str) -> None:
        domain = self._existing(name)
        self.world.mutate("redefine")
        xml = with_hardware(self.world.xml[name], wanted, request_sha256)
        self.world.xml[name] = xml
        self.world.domains[name] = replace(domain, defined=DomainView(hardware(xml), volumes(xml)))

    def set_memory(self, name: str, memory_mib: int) -> None:
        self._set_live("set_memory", name, memory_mib=memory_mib)

    def set_vcpus(self, name: str, count: int) -> None:
        self._set_live("set_vcpus", name, vcpus=count)

    def _set_live(self, action: str, name: str, **hardware_changes: int) -> None:
        domain = self._existing(name)
        if domain.live is None:
            raise Backend(f"cannot {action} a domain that is stopped")
        changed = replace(domain.live.hardware, **hardware_changes)
        if changed.memory_mib > changed.memory_max_mib or changed.vcpus > changed.vcpus_max:
            raise Backend("above the maximum")
        self.world.mutate(action)
        self.world.domains[name] = replace(domain, live=replace(domain.live, hardware=changed))

    def grow_online(self, name: str, volume: str, size_bytes: int) -> None:
        domain = self._existing(name)
        if domain.live is None or volume not in domain.live.volumes:
            raise Backend("not open")
        self.world.mutate("grow_online")
        self.world.volumes[volume] = replace(self.world.volumes[volume], size_bytes=size_bytes)

    def attach(self, name: str, disk: Callable[[str], str], defined: bool, live: bool) -> None:
        domain = self._existing(name)
        added = volumes(f"<domain><devices>{disk(self.world.xml[name])}</devices></domain>")
        self.world.mutate("attach")
        for side, wanted in (("defined", defined), ("live", live)):
            view = getattr(domain, side)
            if wanted:
                if added.keys() & view.volumes.keys():
                    raise Backend("attached already")
                domain = replace(domain, **{side: replace(view, volumes={**view.volumes, **added})})
        self.world.domains[name] = domain

    def detach(self, name: str, volume: str, defined: bool, live: bool) -> bool:
        domain = self._existing(name)
        self.world.mutate("detach")
        if live and not self.world.guest_obeys:
            return False
        for side, wanted in (("defined", defined), ("live", live)):
            view = getattr(domain, side)
            if wanted:
                rest = {name: target for name, target in view.volumes.items() if name != volume}
                domain = replace(domain, **{side: replace(view, volumes=rest)})
        self.world.domains[name] = domain
        return True

    def _existing(self, name: str) -> DomainFacts:
        if name not in self.world.domains:
            raise Backend("no such domain")
        return self.world.domains[name]

    def _become(self, action: str, name: str, state: str, from_states: tuple[str, ...]) -> None:
        domain = self._existing(name)
        if domain.state not in from_states:
            raise Backend(f"cannot {action} a domain that is {domain.state}")
        self.world.mutate(action)
        live = None if state == "stopped" else domain.live or domain.defined
        self.world.domains[name] = replace(domain, state=state, live=live)

    def start(self, name: str, monitors: Monitors = ()) -> None:
        self._become("start", name, "running", ("stopped",))
        if monitors and name in self.world.xml:
            self.world.xml[name] = with_monitors(self.world.xml[name], monitors)

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

    def shut_down_or_power_off(self, name: str, seconds: int) -> None:
        if not self.shut_down(name, seconds):
            self.power_off(name)

    def undefine(self, name: str) -> None:
        self._existing(name)
        self.world.mutate("undefine")
        del self.world.domains[name]


class FakeSeedHypervisor(FakeHypervisor):
    """SeedHypervisor over a World; the first boot of its guests is over, if they obey."""

    def change_medium(self, name: str, drive: str, defined: bool, live: bool) -> None:
        domain = self._existing(name)
        held = volumes(f"<domain><devices>{drive}</devices></domain>")
        self.world.mutate("change_medium")
        for side, wanted in (("defined", defined), ("live", live)):
            view = getattr(domain, side)
            if wanted:
                rest = {volume: target for volume, target in view.volumes.items() if target != "sda"}
                domain = replace(domain, **{side: replace(view, volumes={**rest, **held})})
        self.world.domains[name] = domain

    def wait_for_first_boot(self, name: str, instance_id: str, seconds: int) -> None:
        self.world.first_boots.append(instance_id)
        if not self.world.guest_obeys:
            raise VirtfleetError("timeout", f"The guest of {name} has not told within {seconds} s")
