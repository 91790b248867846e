# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many VMs in one request. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import Invalid

MOST = 1000
# What is the same for all of them, and cannot be given for one.
COMMON_ONLY = ("user_data", "packages", "timezone", "files", "commands")


def expand(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One request for each VM, from `vms` or from `count` and `prefix`.

    Args:
        request: the variables of create_vms.yml; what is beside `vms`, `count` and `prefix` holds for every VM that
            does not say otherwise.

    Raises:
        Invalid: with everything that is wrong with the list as such.
    """
    common = {key: value for key, value in request.items() if key not in ("vms", "count", "prefix", "name")}
    if request.get("vms") is not None:
        if request.get("count") is not None or request.get("prefix") is not None:
            raise Invalid(["vms and count with prefix are two ways to say it; give one"])
        return _from_list(request["vms"], common)
    return [{**common, "name": f"{request.get('prefix')}-{number}"} for number in _numbers(request)]


def _from_list(vms: Any, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(vms, (list, tuple)) or not vms or not all(isinstance(vm, Mapping) for vm in vms):
        raise Invalid(["vms is not a list of mappings, each with a name and what is special about it"])
    names = [str(vm.get("name")) for vm in vms]
    problems = [f"name {name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    for vm in vms:
        problems += [f"{vm.get('name')}: {key} can only be given for all of them" for key in COMMON_ONLY if key in vm]
    if len(vms) > MOST:
        problems.append(f"vms has {len(vms)} entries, more than {MOST}")
    if problems:
        raise Invalid(problems)
    return [{**common, **vm} for vm in vms]


def _numbers(request: Mapping[str, Any]) -> range:
    count = str(request.get("count"))
    problems = []
    if not count.isdecimal() or not 1 <= int(count) <= MOST:
        problems.append(f"count {request.get('count')!r} is not a whole number from 1 to {MOST}")
    if not request.get("prefix"):
        problems.append("prefix is missing: the names are <prefix>-1, <prefix>-2, ...")
    if problems:
        raise Invalid(problems)
    return range(1, int(count) + 1)
