# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to a VM that is there until it has its sizes and its data disks. Pure.

Only what is ours is compared: memory, virtual CPUs, and disks on volumes of this VM. Everything else that a domain has
was put there by libvirt or by a person, and stays.
"""

from __future__ import annotations

from .errors import Conflict
from .plan_types import GIB, Desired, DomainFacts, Hardware, Observed, Step, VolumeFacts
from .spec import DataDisk


def change_steps(desired: Desired, observed: Observed, domain: DomainFacts) -> tuple[list[Step], bool]:
    """The steps, and whether a part of them is only seen after the VM was stopped and started.

    Raises:
        Conflict: a disk would shrink, or its volume is not ours.
    """
    sizes = desired.sizes
    steps = []
    if sizes.disk_gib is not None and observed.root is not None:
        steps += _grow(desired.root_volume, observed.root, sizes.disk_gib, domain)
    restart = False
    if sizes.hardware is not None and domain.defined is not None:
        hardware_steps, restart = _hardware_steps(desired.name, sizes.hardware, domain)
        steps += hardware_steps
    if sizes.disks is not None:
        for disk in sizes.disks:
            steps += _disk_steps(desired, disk, observed, domain)
        steps += _detach_steps(desired, sizes.disks, observed, domain)
    return steps, restart


def new_disk_steps(desired: Desired, observed: Observed) -> list[Step]:
    """The volumes of the data disks of a VM that is being made; its definition attaches them.

    Raises:
        Conflict: a volume is there that is not ours, or is larger.
    """
    return [step for disk in desired.sizes.disks or () for step in _volume_steps(desired, disk, observed, domain=None)]


def refuse_to_shrink(volume: str, size_bytes: int, size_gib: int) -> None:
    """Conflict, where a volume is larger than what was asked for."""
    if size_bytes > size_gib * GIB:
        raise Conflict(
            f"volume {volume} has {size_bytes / GIB:g} GiB, more than the {size_gib} GiB asked for",
            "Disks are never shrunk.",
        )


def _grow(volume: str, seen: VolumeFacts, size_gib: int, domain: DomainFacts | None) -> list[Step]:
    refuse_to_shrink(volume, seen.size_bytes, size_gib)
    if seen.size_bytes == size_gib * GIB:
        return []
    # QEMU sees a new size only when it is QEMU that changes it.
    online = domain is not None and domain.live is not None and volume in domain.live.volumes
    return [Step("grow_online" if online else "grow", volume, {"size_bytes": size_gib * GIB})]


def _hardware_steps(name: str, wanted: Hardware, domain: DomainFacts) -> tuple[list[Step], bool]:
    steps = []
    if domain.defined is not None and domain.defined.hardware != wanted:
        steps.append(Step("redefine", name, {"hardware": wanted}))
    if domain.live is None:
        return steps, False
    now = domain.live.hardware
    restart = now.memory_max_mib != wanted.memory_max_mib or now.vcpus_max != wanted.vcpus_max
    if now.memory_mib != wanted.memory_mib:
        if wanted.memory_mib <= now.memory_max_mib:
            steps.append(Step("set_memory", name, {"memory_mib": wanted.memory_mib}))
        else:
            restart = True
    if now.vcpus < wanted.vcpus <= now.vcpus_max:
        steps.append(Step("set_vcpus", name, {"vcpus": wanted.vcpus}))
    elif now.vcpus != wanted.vcpus:
        # Fewer need the guest to let go of some, which many refuse.
        restart = True
    return steps, restart


def _volume_steps(desired: Desired, disk: DataDisk, observed: Observed, domain: DomainFacts | None) -> list[Step]:
    volume = desired.volume(disk.name)
    seen = observed.others.get(volume)
    if seen is None:
        return [Step("create_disk", volume, {"size_bytes": disk.size_gib * GIB})]
    if seen.vm_id != desired.id:
        raise Conflict(
            f"volume {volume} is there and is not marked as this VM's",
            "Look at it with 'rbd info' and 'rbd status'; rename or remove it, or choose another name for the disk.",
        )
    return _grow(volume, seen, disk.size_gib, domain)


def _disk_steps(desired: Desired, disk: DataDisk, observed: Observed, domain: DomainFacts) -> list[Step]:
    volume = desired.volume(disk.name)
    steps = _volume_steps(desired, disk, observed, domain)
    where = _sides(domain, volume, attached=False)
    if any(where.values()):
        steps.append(Step("attach", volume, {"serial": disk.serial, **where}))
    return steps


def _sides(domain: DomainFacts, volume: str, attached: bool) -> dict[str, bool]:
    """Which of the definition and the running domain has the volume attached, or has not."""
    sides = {"defined": domain.defined, "live": domain.live}
    return {side: view is not None and (volume in view.volumes) is attached for side, view in sides.items()}


def _detach_steps(
    desired: Desired, wanted: tuple[DataDisk, ...], observed: Observed, domain: DomainFacts
) -> list[Step]:
    """Detach what is attached and not wanted; what is kept stays with the VM and is deleted with it."""
    keep = {desired.root_volume, desired.seed_volume, *(desired.volume(disk.name) for disk in wanted)}
    ours = {name for name, volume in observed.others.items() if volume.vm_id == desired.id} - keep
    steps = []
    for volume in sorted(ours):
        where = _sides(domain, volume, attached=True)
        if any(where.values()):
            steps.append(Step("detach", volume, where))
        if desired.remove_detached:
            steps.append(Step("trash", volume))
    return steps
