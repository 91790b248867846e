# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that makes targets of Prometheus out of VMs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def guest_targets(vms: Iterable[Mapping[str, Any]], port: int) -> list[dict[str, Any]]:
    """The VMs that have an address, as its file_sd_configs reads them."""
    return [
        {
            "targets": [f"[{vm['ip']}]:{port}" if ":" in vm["ip"] else f"{vm['ip']}:{port}"],
            "labels": {"instance": vm["name"], "node": vm["node"], "project": vm["project"]},
        }
        for vm in vms
        if vm["ip"]
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"guest_targets": guest_targets}
