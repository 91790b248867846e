# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domain of a VM, where something is to be done with it. Pure."""

from __future__ import annotations

from .errors import Conflict, NotFound
from .ownership import refuse_elsewhere
from .plan_types import DomainFacts


def own_domain(name: str, vm_id: str, node: str, owner: str | None, domain: DomainFacts | None) -> DomainFacts:
    """The VM's domain, if it is there, this VM's, and this node's.

    Raises:
        VirtfleetError: in_use_elsewhere.
        NotFound: there is none.
        Conflict: it is another VM's.
    """
    refuse_elsewhere(name, owner, node)
    if domain is None:
        raise no_domain(name, node)
    if domain.owned_id != vm_id:
        raise Conflict(f"The domain {name} is not that of VM {vm_id}", "Look at it with 'virsh dumpxml'.")
    return domain


def no_domain(name: str, node: str) -> NotFound:
    """The error of a VM that is not on its node."""
    return NotFound(
        f"VM {name} has no domain on node {node}", "If it was half-made, run create_vm.yml again with the same name."
    )
