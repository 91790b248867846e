# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a VM that virt_rbd_vm takes for one, and virt_rbd_vms for each of many."""

from __future__ import annotations

from typing import Any

from .plan_types import STATES
from .spec import FILESYSTEMS

# What decides the seed; fragment virtfleet.cloud.seed documents it.
SEED_OPTIONS: dict[str, Any] = {
    "copied": {"type": "bool", "default": False},
    "disks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "size_gib": {"type": "int", "required": True},
            "filesystem": {"type": "str", "choices": list(FILESYSTEMS)},
            "mount": {"type": "str"},
            "serial": {"type": "str"},
        },
    },
    "networks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "mac": {"type": "str", "required": True},
            "network": {"type": "str"},
            "bridge": {"type": "str"},
            "vlan": {"type": "int"},
            "address": {"type": "str"},
            "gateway": {"type": "str"},
            "dns": {"type": "list", "elements": "str"},
            "search": {"type": "list", "elements": "str"},
            "subnet": {"type": "str"},
        },
    },
    "guest_user": {"type": "str", "default": "debian"},
    "ssh_authorized_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "user_data": {"type": "json", "no_log": True},
}

VM_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "id": {"type": "str", "required": True},
    "state": {"type": "str", "choices": list(STATES), "default": "running"},
    "node": {"type": "str"},
    "project": {"type": "str", "default": "default"},
    "image": {"type": "str"},
    "memory_mib": {"type": "int"},
    "memory_max_mib": {"type": "int"},
    "vcpus": {"type": "int"},
    "vcpus_max": {"type": "int"},
    "disk_gib": {"type": "int"},
    "source": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "id": {"type": "str", "required": True},
            "snapshot": {"type": "str"},
        },
    },
    "record": {"type": "dict"},
    "remove_detached": {"type": "bool", "default": False},
    "allow_power_cycle": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "purge": {"type": "bool", "default": False},
    "restore": {"type": "bool", "default": False},
    "restored": {"type": "bool", "default": False},
    "retention_days": {"type": "int", "default": 7},
    "shutdown_timeout": {"type": "int", "default": 60},
    **SEED_OPTIONS,
}

# What is needed to make a VM where it is missing.
REQUIRED_BY = {"image": ("networks", "memory_mib", "vcpus", "disk_gib")}
