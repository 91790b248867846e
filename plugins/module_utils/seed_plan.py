# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to the seed of a VM that is there: (wish, what is seen) -> Plan. Pure.

A guest reads its seed when it boots, and acts on it when the instance id in it is a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import Conflict, VirtfleetError
from .own_domain import own_domain
from .plan_types import DomainFacts, DomainView, Plan, Step, VolumeFacts

SEED_STATES = ("present", "wiped", "locked")


@dataclass(frozen=True, slots=True)
class SeedWish:
    """What was asked for.

    Attributes:
        state: present is a seed that says what it is to say, and is in the VM's drive; wiped is one that says nothing
            but who the guest is; locked is one that is not in the drive.
        seed_sha256: digest of what the volume is to hold.
        force: do not find out whether the guest's first boot is over, or cut its power for a restart.
    """

    name: str
    id: str
    node: str
    state: str
    seed_sha256: str
    allow_power_cycle: bool = False
    force: bool = False

    @property
    def seed_volume(self) -> str:
        return f"{self.name}.seed"


@dataclass(frozen=True, slots=True)
class SeenSeed:
    """A VM and its seed volume, as seen."""

    domain: DomainFacts | None
    owner: str | None
    seed: VolumeFacts | None


def decide_seed(wish: SeedWish, seen: SeenSeed) -> Plan:
    """The steps from what is there to what was asked for.

    Raises:
        VirtfleetError: it is refused.
    """
    domain = _domain(wish, seen)
    decide = {"present": _present, "wiped": _wiped, "locked": _locked}[wish.state]
    steps = decide(wish, seen, domain)
    # A guest that runs reads its seed at its next boot.
    unread = wish.state == "present" and domain.live is not None and any(step.action == "write_seed" for step in steps)
    if unread and wish.allow_power_cycle and domain.state == "running":
        stop = Step("power_off" if wish.force else "shut_down", wish.name)
        steps, unread = [*steps, stop, Step("start", wish.name)], False
    before = _view(wish, seen, domain)
    return Plan(tuple(steps), before, _after(wish, before, steps), restart_required=unread)


def _domain(wish: SeedWish, seen: SeenSeed) -> DomainFacts:
    """The VM's domain, if it is there and this VM's."""
    domain = own_domain(wish.name, wish.id, wish.node, seen.owner, seen.domain)
    if seen.seed is not None and seen.seed.vm_id not in (None, wish.id):
        raise Conflict(f"Volume {wish.seed_volume} belongs to VM {seen.seed.vm_id}", "Look at it with 'rbd info'.")
    return domain


def _present(wish: SeedWish, seen: SeenSeed, domain: DomainFacts) -> list[Step]:
    written = _write(wish, seen)
    defined = not _holds(domain.defined, wish.seed_volume)
    # A QEMU that runs learns of another size only by another look.
    live = domain.live is not None and (bool(written) or not _holds(domain.live, wish.seed_volume))
    return written + _change_medium("insert_seed", wish, defined, live)


def _wiped(wish: SeedWish, seen: SeenSeed, domain: DomainFacts) -> list[Step]:
    written = _write(wish, seen)
    if not written:
        return []
    live = _holds(domain.live, wish.seed_volume)
    return [*_after_first_boot(wish, domain), *written, *_change_medium("insert_seed", wish, False, live)]


def _locked(wish: SeedWish, seen: SeenSeed, domain: DomainFacts) -> list[Step]:
    defined, live = _holds(domain.defined, wish.seed_volume), _holds(domain.live, wish.seed_volume)
    ejected = _change_medium("eject_seed", wish, defined, live)
    return [*_after_first_boot(wish, domain), *ejected] if ejected else []


def _write(wish: SeedWish, seen: SeenSeed) -> list[Step]:
    same = seen.seed is not None and seen.seed.seed_sha256 == wish.seed_sha256
    return [] if same else [Step("write_seed", wish.seed_volume)]


def _change_medium(action: str, wish: SeedWish, defined: bool, live: bool) -> list[Step]:
    return [Step(action, wish.seed_volume, {"defined": defined, "live": live})] if defined or live else []


def _after_first_boot(wish: SeedWish, domain: DomainFacts) -> list[Step]:
    """A seed that goes before it was read leaves a guest that nobody can log in to."""
    if wish.force:
        return []
    if domain.state != "running":
        raise VirtfleetError(
            "needs_consent",
            f"VM {wish.name} is {domain.state}, so nobody can say whether its first boot is over",
            "Start it first (start_vm.yml), or give force=true if you know that it is.",
        )
    return [Step("wait_for_first_boot", wish.name)]


def _holds(view: DomainView | None, volume: str) -> bool:
    return view is not None and volume in view.volumes


def _view(wish: SeedWish, seen: SeenSeed, domain: DomainFacts) -> dict[str, Any]:
    there = "other" if _write(wish, seen) else "as asked for"
    sides = {"defined": domain.defined, "live": domain.live}
    return {
        "state": domain.state,
        "seed": there if seen.seed else "absent",
        "in_drive": {side: _holds(view, wish.seed_volume) for side, view in sides.items()},
    }


def _after(wish: SeedWish, before: dict[str, Any], steps: list[Step]) -> dict[str, Any]:
    view = {**before, "in_drive": dict(before["in_drive"])}
    for step in steps:
        if step.action == "write_seed":
            view["seed"] = "as asked for"
        elif step.action in ("insert_seed", "eject_seed"):
            changed = [side for side, wanted in step.detail.items() if wanted]
            view["in_drive"] |= dict.fromkeys(changed, step.action == "insert_seed")
    return view
