# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Many VMs through main(): each by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.virtfleet.cloud.tests.unit.doubles import World

Runner = Callable[..., dict[str, Any]]


def vm(number: int, **options: Any) -> dict[str, Any]:
    return {
        "name": f"web-{number}", "id": f"6a3e1d3c-6c0e-4b58-9c39-0000000000{number:02}", "node": "node-1",
        "image": "img", "memory_mib": 128, "vcpus": 1, "disk_gib": 10,
        "networks": [{"mac": f"52:54:00:12:34:{number:02}"}], **options,
    }  # fmt: skip


VMS = [vm(number) for number in range(1, 6)]


def test_check_run_rerun_check(vms_module: Runner, world: World) -> None:
    check = vms_module(check=True, vms=VMS)
    assert check["changed"] and world.mutations == []
    run = vms_module(vms=VMS, parallel=1)
    assert [result["actions"] for result in run["results"]] == [result["actions"] for result in check["results"]]
    assert [result["name"] for result in run["results"]] == [f"web-{number}" for number in range(1, 6)]
    assert run["diff"] == check["diff"] and len(world.domains) == 5
    for again in (vms_module(vms=VMS), vms_module(check=True, vms=VMS)):
        assert not again["changed"]


def test_one_that_fails_leaves_the_others_alone(vms_module: Runner, world: World) -> None:
    result = vms_module(vms=[vm(1), vm(2, image="nope"), vm(3)])
    assert [one.get("error", {}).get("code") for one in result["results"]] == [None, "not_found", None]
    assert set(world.domains) == {"web-1", "web-3"}
    assert "failed" not in result


def test_options_that_there_are_not_are_refused_before_anything(vms_module: Runner, world: World) -> None:
    result = vms_module(vms=[vm(1), vm(2, memory=1), {"name": "x", "id": "y", "image": "img"}])
    assert result["error"]["code"] == "invalid" and len(result["error"]["problems"]) == 2
    assert world.mutations == []


def test_user_data_is_for_all_of_them_and_never_shown(vms_module: Runner, world: World) -> None:
    result = vms_module(vms=VMS[:2], user_data='{"password": "canary-7f3a"}')
    assert "canary" not in str(result)
    seeds = [world.volumes[f"web-{number}.seed"].seed_sha256 for number in (1, 2)]
    assert vms_module(vms=VMS[:2], user_data='{"password": "canary-7f3a"}')["changed"] is False
    assert len(set(seeds)) == 2
