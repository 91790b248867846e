# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight finds, and the groups it knows."""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "error"
WARNING = "warning"
# In the place of a host, for what is wrong with all of them.
INVENTORY = "inventory"
GROUPS = (
    "virtualization",
    "ceph_mon",
    "ceph_mgr",
    "ceph_osd",
    "database",
    "internal_haproxy",
    "external_haproxy",
    "monitoring",
    "awx",
    "manager",
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        host: its inventory name, or INVENTORY.
        check: a word by which it can be ignored.
    """

    host: str
    level: str
    check: str
    finding: str
    hint: str
