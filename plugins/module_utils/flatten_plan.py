# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that no volume of a VM hangs on an image or another VM: (desired, observed) -> Plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import Conflict, NotFound
from .ownership import refuse_elsewhere
from .plan_types import Plan, Step, VolumeFacts


@dataclass(frozen=True, slots=True)
class Flat:
    """The VM that is to stand by itself."""

    name: str
    id: str
    node: str

    @property
    def root_volume(self) -> str:
        return f"{self.name}.root"


def decide_flatten(
    desired: Flat, root: VolumeFacts | None, owner: str | None, others: Mapping[str, VolumeFacts]
) -> Plan:
    """A step for each volume that has a parent.

    Args:
        others: the volumes beside the root volume; those of a clone of another VM have parents too.

    Raises:
        VirtfleetError: the VM is another node's, or the volume another VM's, or there is none.
    """
    volume = desired.root_volume
    refuse_elsewhere(desired.name, owner, desired.node)
    if root is None:
        raise NotFound(f"Volume {volume} is not there", "If the VM was half-made, run create_vm.yml again.")
    if root.vm_id != desired.id:
        raise Conflict(
            f"Volume {volume} belongs to VM {root.vm_id}, not to {desired.id}", "Look at it with 'rbd info'."
        )
    ours = {volume: root} | {name: facts for name, facts in others.items() if facts.vm_id == desired.id}
    steps = tuple(Step("flatten", name) for name, facts in ours.items() if facts.parent)
    return Plan(steps, {name: facts.parent for name, facts in ours.items()}, dict.fromkeys(ours))
