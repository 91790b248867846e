# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for Ceph: the change of a VM's owner while it moves between two nodes."""

from __future__ import annotations

from .ceph import Ceph, as_our_errors, owner_object
from .errors import Conflict
from .ownership import Ownership

try:
    import rados
except ImportError:
    HAS_RADOS = False
else:
    HAS_RADOS = True

# What librados adds the place of the first byte that differs to, which is 0 where there is no object. Its bindings have
# an exception of its own for this, and do not raise it for 0.
_MISMATCH = 4095


class OwnerStore:
    """The owners' objects of a pool. Raises what Ceph does."""

    def __init__(self, ceph: Ceph) -> None:
        self._ceph = ceph

    def read(self, vm_id: str) -> Ownership | None:
        """The owner of this VM, or None when the pool was read and names none."""
        return self._ceph.ownership(vm_id)

    def change(self, vm_id: str, before: Ownership, after: Ownership) -> None:
        """Write the new owner if the old one still is what was read; one atomic operation.

        Raises:
            Conflict: it is not any more.
        """
        with as_our_errors(f"changing the owner of VM {vm_id}"), rados.WriteOpCtx() as operation:
            operation.cmpext(before.to_bytes())
            operation.write_full(after.to_bytes())
            try:
                self._ceph.ioctx.operate_write_op(operation, owner_object(vm_id))
            except rados.Error as error:
                if (getattr(error, "errno", None) or 0) < _MISMATCH:
                    raise
                raise Conflict(
                    f"The owner of VM {vm_id} is not {before} any more", "Run again to see its owner."
                ) from None
