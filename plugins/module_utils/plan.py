# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to a VM on its node: (desired, observed) -> Plan.

Pure: `changed`, check mode, the diff, the returned `actions` and the execution all come from the one Plan made here.
The order of the steps is such that a run that ends between any two of them is continued by the next run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .clone_plan import clone_steps
from .errors import Conflict, Invalid, NotFound, VirtfleetError
from .own_domain import no_domain
from .ownership import refuse_elsewhere
from .plan_changes import change_steps, new_disk_steps, refuse_to_shrink
from .plan_types import GIB, STATES, Build, Desired, ImageFacts, Observed, Plan, Step, TrashedVolume, VolumeFacts

_AS_RECORDED = "as in the registry"


def decide(desired: Desired, observed: Observed) -> Plan:
    """The steps from what is there to what was asked for.

    Raises:
        VirtfleetError: it is refused; every reason is listed.
    """
    if desired.state not in STATES:
        raise Invalid([f"state {desired.state!r} is none of {', '.join(STATES)}"])
    _refuse_what_is_not_ours(desired, observed)
    if desired.state == "absent":
        steps = _absent(desired, observed)
        return _plan(desired, observed, steps, restart=False)
    steps, restart = _make(desired, observed), False
    if observed.domain is not None:
        steps, restart = change_steps(desired, observed, observed.domain)
    steps += _record_steps(desired, observed, steps)
    if observed.domain is not None and restart:
        if desired.allow_power_cycle and desired.state in ("present", "running"):
            steps += [*_stop(desired, observed.domain.state), Step("start", desired.name)]
            return _plan(desired, observed, steps, restart=False)
    return _plan(desired, observed, steps + _power(desired, observed), restart)


def _record_steps(desired: Desired, observed: Observed, steps: list[Step]) -> list[Step]:
    """What the registry has of the VM is kept with its volume, to make the registry anew by when it is lost."""
    if desired.record is None or _kept(desired, observed) == _AS_RECORDED or _writes_record(steps):
        return []
    made = observed.domain is None or observed.root is not None
    return [Step("keep_record", desired.root_volume)] if made else []


def _writes_record(steps: list[Step]) -> bool:
    """Whether one of the steps does; a new root volume gets it together with its marks."""
    return any(step.action in ("mark", "keep_record") for step in steps)


def _kept(desired: Desired, observed: Observed) -> str:
    """How the record that is kept compares with the registry's."""
    if observed.root is None or observed.root.record is None:
        return "absent"
    return _AS_RECORDED if observed.root.record == desired.record else "other"


def _plan(desired: Desired, observed: Observed, steps: list[Step], restart: bool) -> Plan:
    before, after = _before(observed), _after(desired, observed, steps)
    if desired.record is not None:
        before["record"] = after["record"] = _kept(desired, observed)
        if _writes_record(steps):
            after["record"] = _AS_RECORDED
    return Plan(tuple(steps), before, after, restart)


def _refuse_what_is_not_ours(desired: Desired, observed: Observed) -> None:
    """Nothing is adopted, changed or deleted that belongs to another VM or another node."""
    refuse_elsewhere(desired.name, observed.owner, desired.node)
    problems = []
    domain = observed.domain
    if domain is not None and (domain.uuid != desired.id or domain.owned_id != desired.id):
        problems.append(f"a domain {desired.name} with UUID {domain.uuid} is there that is not this VM ({desired.id})")
    volumes = {desired.root_volume: observed.root, desired.seed_volume: observed.seed}
    for name, volume in volumes.items():
        if volume is not None and volume.vm_id not in (None, desired.id):
            problems.append(f"volume {name} belongs to VM {volume.vm_id}")
    if problems:
        raise Conflict(
            f"The name {desired.name} is taken by something else", "Choose another name, or remove it first.", problems
        )


def _make(desired: Desired, observed: Observed) -> list[Step]:
    if observed.domain is not None:
        return []
    build = desired.build
    if build is None:
        raise no_domain(desired.name, desired.node)
    _refuse_missing_links(desired, build, observed)
    steps = []
    if observed.owner is None:
        steps.append(Step("take_ownership", desired.name))
    if desired.restore:
        return [*steps, *_restore_steps(desired, observed), Step("define", desired.name)]
    steps += _volume_steps(desired, build, observed)
    if observed.seed is None or observed.seed.seed_sha256 != build.seed_sha256:
        steps.append(Step("write_seed", desired.seed_volume))
    steps.append(Step("define", desired.name))
    return steps


def _refuse_missing_links(desired: Desired, build: Build, observed: Observed) -> None:
    """libvirt would define a domain without its network, and then not start it."""
    missing = sorted(set(build.links) - observed.links)
    problems = [f"there is no {kind} {name}" for kind, name in missing]
    if build.vlans and not observed.tags_vlans:
        problems.append("its libvirt puts no interface on a bridge into a VLAN (11.0 and newer do)")
    if problems:
        there = ", ".join(f"{kind} {name}" for kind, name in sorted(observed.links)) or "nothing"
        raise VirtfleetError(
            "not_found",
            f"VM {desired.name} cannot be connected on node {desired.node}",
            f"The node has {there}. Set up what is missing, or choose another node or network.",
            problems,
        )


def _volume_steps(desired: Desired, build: Build, observed: Observed) -> list[Step]:
    if build.source is not None:
        return clone_steps(desired, build, build.source, observed)
    return _root_steps(desired, build, observed) + new_disk_steps(desired, observed)


def _restore_steps(desired: Desired, observed: Observed) -> list[Step]:
    """Everything of this VM that is in the trash, each volume as it was deleted last."""
    volumes = {desired.root_volume: observed.root, desired.seed_volume: observed.seed, **observed.others}
    there = {name for name, volume in volumes.items() if volume is not None}
    latest: dict[str, TrashedVolume] = {}
    for volume in observed.trashed:
        if volume.vm_id == desired.id:
            latest.setdefault(volume.name, volume)
    data = [desired.volume(disk.name) for disk in desired.sizes.disks or ()]
    wanted = [desired.root_volume, desired.seed_volume, *data]
    missing = [name for name in wanted if name not in there and name not in latest]
    if missing and (there or observed.owner):
        raise Conflict(
            f"VM {desired.name} is half-restored, and the trash does not hold {', '.join(missing)}",
            "Delete what is there (delete_vm.yml), or restore a backup.",
        )
    if missing:
        raise NotFound(
            f"The trash does not hold {', '.join(missing)} of VM {desired.name}",
            "It was purged, or its retention is over; restore a backup, or create the VM anew.",
        )
    return [Step("restore", name, {"volume": volume}) for name, volume in latest.items() if name not in there]


def _root_steps(desired: Desired, build: Build, observed: Observed) -> list[Step]:
    image = observed.image
    size = build.disk_gib * GIB
    root = observed.root
    target = desired.root_volume
    if root is not None and root.vm_id is None:
        _refuse_unmarked_root(target, build, root, image)
    if root is None:
        if image is None:
            raise NotFound(f"Image {build.image} is not there", "Import it (role image), or name another one.")
        if size < image.size_bytes:
            raise Invalid(
                [f"disk {build.disk_gib} GiB is smaller than image {build.image} ({_gib(image.size_bytes)} GiB)"]
            )
        source = f"{build.image}@{image.snapshot}"
        steps = [Step("clone", target, {"image": build.image, "snapshot": image.snapshot, "source": source})]
        current = image.size_bytes
    else:
        steps, current = [], root.size_bytes
    refuse_to_shrink(target, current, build.disk_gib)
    if current < size:
        steps.append(Step("grow", target, {"size_bytes": size}))
    if root is None or root.vm_id is None:
        steps.append(Step("mark", target))
    return steps


def _refuse_unmarked_root(target: str, build: Build, root: VolumeFacts, image: ImageFacts | None) -> None:
    """A create that died after the clone leaves an unmarked clone of the same image, which is continued.

    Anything else under the name is somebody's data.
    """
    ours = image is not None and root.parent == f"{build.image}@{image.snapshot}" and root.watchers == 0
    if not ours:
        raise Conflict(
            f"volume {target} is there and is not marked as this VM's",
            "Look at it with 'rbd info' and 'rbd status'; rename or remove it, or choose another name.",
        )


def _power(desired: Desired, observed: Observed) -> list[Step]:
    state = observed.domain.state if observed.domain is not None else "stopped"
    name = desired.name
    if desired.state in ("present", state):
        return []
    if desired.state == "running":
        return [Step("resume" if state == "suspended" else "start", name)]
    if desired.state == "suspended":
        if state == "stopped":
            raise Conflict(f"VM {name} is stopped and cannot be suspended", "Start it first (start_vm.yml).")
        return [Step("suspend", name)]
    return _stop(desired, state)


def _stop(desired: Desired, state: str) -> list[Step]:
    name = desired.name
    if desired.force:
        return [Step("power_off", name)]
    if state == "suspended":
        raise VirtfleetError(
            "needs_consent",
            f"VM {name} is suspended, so its guest cannot shut down",
            "Resume it first (resume_vm.yml), or give force=true to cut its power.",
        )
    return [Step("shut_down", name)]


def _absent(desired: Desired, observed: Observed) -> list[Step]:
    steps = []
    domain = observed.domain
    if domain is not None:
        if domain.state == "running" and not desired.force:
            steps.append(Step("shut_down_or_power_off", desired.name))
        elif domain.state != "stopped":
            steps.append(Step("power_off", desired.name))
        steps.append(Step("undefine", desired.name))
    ours = {name: volume for name, volume in observed.others.items() if volume.vm_id == desired.id}
    volumes = {desired.seed_volume: observed.seed, **ours, desired.root_volume: observed.root}
    for name, volume in volumes.items():
        if volume is not None:
            # A QEMU that runs has each of its volumes open once.
            if volume.watchers > (domain is not None and domain.state != "stopped"):
                raise VirtfleetError(
                    "in_use_elsewhere",
                    f"volume {name} is in use by another client",
                    "Find it with 'rbd status'; nothing that is open is deleted.",
                )
            steps.append(Step("remove" if desired.purge else "trash", name))
    steps += [Step("remove", name) for name in observed.unnamed]
    if observed.owner is not None:
        steps.append(Step("release_ownership", desired.name))
    return steps


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:g}"


def _before(observed: Observed) -> dict[str, Any]:
    domain = observed.domain
    defined = domain.defined if domain else None
    return {
        "state": domain.state if domain else "absent",
        "owner": observed.owner,
        "root": _volume_view(observed.root),
        "seed": "present" if observed.seed else "absent",
        "hardware": asdict(defined.hardware) if defined else None,
        "disks": {
            name: {"size_gib": _gib(volume.size_bytes), "attached": bool(defined and name in defined.volumes)}
            for name, volume in sorted(observed.others.items())
        },
    }


def _volume_view(volume: VolumeFacts | None) -> dict[str, Any] | str:
    return {"size_gib": _gib(volume.size_bytes), "parent": volume.parent} if volume else "absent"


_STATE_AFTER = {
    "define": "stopped",
    "start": "running",
    "resume": "running",
    "suspend": "suspended",
    "shut_down": "stopped",
    "power_off": "stopped",
    "shut_down_or_power_off": "stopped",
    "undefine": "absent",
}


def _after(desired: Desired, observed: Observed, steps: list[Step]) -> dict[str, Any]:
    view = _before(observed)
    view["disks"] = {name: dict(disk) for name, disk in view["disks"].items()}
    for step in steps:
        if step.action in _STATE_AFTER:
            view["state"] = _STATE_AFTER[step.action]
        if step.action in _VIEW_AFTER:
            _VIEW_AFTER[step.action](view, step, desired)
        elif step.action == "clone" and observed.image:
            view["root"] = {"size_gib": _gib(observed.image.size_bytes), "parent": step.detail["source"]}
    return view


def _define(view: dict[str, Any], _step: Step, desired: Desired) -> None:
    hardware = desired.sizes.hardware
    view["hardware"] = asdict(hardware) if hardware else None
    for disk in desired.sizes.disks or ():
        view["disks"][desired.volume(disk.name)]["attached"] = True


def _undefine(view: dict[str, Any], _step: Step, _desired: Desired) -> None:
    view["hardware"] = None
    for disk in view["disks"].values():
        disk["attached"] = False


def _gone(view: dict[str, Any], step: Step, desired: Desired) -> None:
    parts = {desired.root_volume: "root", desired.seed_volume: "seed"}
    if step.target in parts:
        view[parts[step.target]] = "absent"
    else:
        view["disks"].pop(step.target, None)  # what had not got its name yet is not shown


def _grown(view: dict[str, Any], step: Step, desired: Desired) -> None:
    size = {"size_gib": _gib(step.detail["size_bytes"])}
    if step.target == desired.root_volume:
        view["root"] = {**view["root"], **size}
    else:
        view["disks"][step.target] |= size


def _restored(view: dict[str, Any], step: Step, desired: Desired) -> None:
    # How large it is, and what it hangs on, is not looked up in the trash.
    parts = {desired.root_volume: "root", desired.seed_volume: "seed"}
    if step.target in parts:
        view[parts[step.target]] = "present"
    else:
        view["disks"][step.target] = {"attached": False}


def _cloned(view: dict[str, Any], step: Step, desired: Desired) -> None:
    if step.target == desired.root_volume:
        view["root"] = {"size_gib": _gib(step.detail["size_bytes"]), "parent": step.detail["source"]}
    else:
        _created(view, step, desired)


def _created(view: dict[str, Any], step: Step, _desired: Desired) -> None:
    view["disks"][step.target] = {"size_gib": _gib(step.detail["size_bytes"]), "attached": False}


_VIEW_AFTER: dict[str, Callable[[dict[str, Any], Step, Desired], None]] = {
    "take_ownership": lambda view, step, desired: view.update(owner=desired.node),
    "release_ownership": lambda view, step, desired: view.update(owner=None),
    "write_seed": lambda view, step, desired: view.update(seed="present"),
    "redefine": lambda view, step, desired: view.update(hardware=asdict(step.detail["hardware"])),
    "attach": lambda view, step, desired: view["disks"][step.target].update(attached=True),
    "detach": lambda view, step, desired: view["disks"][step.target].update(attached=False),
    "create_disk": _created,
    "clone_volume": _cloned,
    "restore": _restored,
    "define": _define,
    "undefine": _undefine,
    "trash": _gone,
    "remove": _gone,
    "grow": _grown,
    "grow_online": _grown,
}
