# SPDX-License-Identifier: GPL-3.0-or-later
"""The module through main(): check, run, rerun, check; secrets; runs that are cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.domain_xml import mac_addresses
from ansible_collections.virtfleet.cloud.tests.unit.doubles import World

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
EXISTING = {"name": "a", "id": ID, "node": "node-1"}
VM = {
    **EXISTING, "image": "img", "memory_mib": 128, "vcpus": 1, "disk_gib": 10,
    "networks": [{"mac": "52:54:00:12:34:56"}],
    "user_data": '{"password": "canary-7f3a"}',
}  # fmt: skip

Runner = Callable[..., dict[str, Any]]

TRANSITIONS = [
    ([], {**VM, "state": "present"}),
    ([], {**VM, "state": "running"}),
    ([], {**VM, "state": "running", "record": {"version": 1}}),
    ([VM], {**EXISTING, "state": "present", "record": {"version": 1}}),
    ([], {**VM, "state": "stopped"}),
    ([{**VM, "state": "present"}], {**EXISTING, "state": "running"}),
    ([VM], {**EXISTING, "state": "stopped"}),
    ([VM], {**EXISTING, "state": "stopped", "force": True}),
    ([VM], {**EXISTING, "state": "suspended"}),
    ([VM, {**EXISTING, "state": "suspended"}], {**EXISTING, "state": "running"}),
    ([VM], {**EXISTING, "state": "absent"}),
    ([VM], {**EXISTING, "state": "absent", "purge": True}),
]


@pytest.mark.parametrize(("before", "wanted"), TRANSITIONS)
def test_check_run_rerun_check(
    vm_module: Runner, world: World, before: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    for arguments in before:
        vm_module(**arguments)
    world.mutations.clear()
    check = vm_module(check=True, **wanted)
    stays = wanted["state"] == "stopped" and not before
    assert world.mutations == []
    run = vm_module(**wanted)
    assert check["changed"] and run["changed"] and world.mutations
    assert [check[key] for key in ("actions", "diff", "vm")] == [run[key] for key in ("actions", "diff", "vm")]
    world.mutations.clear()
    for again in (vm_module(**wanted), vm_module(check=True, **wanted)):
        assert not again["changed"] and again["actions"] == []
        assert again["diff"]["before"] == again["diff"]["after"] == run["diff"]["after"]
    assert world.mutations == []
    assert not stays or world.domains["a"].state == "stopped"


@pytest.mark.parametrize("wanted", [VM, {**VM, "record": {"version": 1}}, {**EXISTING, "state": "absent"}])
def test_killed_at_any_step_the_next_run_finishes(
    vm_module: Runner, world: World, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]
) -> None:
    if "image" not in wanted:
        vm_module(**VM)
    world.mutations.clear()
    steps = [action.split()[0] for action in vm_module(check=True, **wanted)["actions"]]
    for step in steps:
        world.fail_at = "shut_down" if step == "shut_down_or_power_off" else step
        with pytest.raises(KeyboardInterrupt):
            vm_module(**wanted)
    world.fail_at = None
    vm_module(**wanted)
    assert not vm_module(check=True, **wanted)["changed"]


RECORD: dict[str, Any] = {
    "version": 1,
    "created_at": "2026-11-24T08:00:00.000Z",
    "request": {"tags": ["web"]},
    "spec": {},
}


def test_the_record_of_the_registry_is_kept_with_the_root_volume(vm_module: Runner, world: World) -> None:
    made = vm_module(**VM, record=RECORD)
    # Together with the marks of a volume that is new.
    assert "mark a.root" in made["actions"] and "keep_record a.root" not in made["actions"]
    assert [made["diff"][side]["record"] for side in ("before", "after")] == ["absent", "as in the registry"]
    assert json.loads(world.volumes["a.root"].record or "") == RECORD
    # Without one what is kept stays.
    assert not vm_module(**VM)["changed"]
    other = {**RECORD, "request": {"tags": []}}
    changed = vm_module(**EXISTING, state="present", record=other)
    assert changed["actions"] == ["keep_record a.root"]
    assert [changed["diff"][side]["record"] for side in ("before", "after")] == ["other", "as in the registry"]
    assert not vm_module(**EXISTING, state="present", record=other)["changed"]
    vm_module(**EXISTING, state="absent")
    assert vm_module(**VM, restore=True, record=RECORD)["actions"][-2:] == ["keep_record a.root", "start a"]
    assert json.loads(world.volumes["a.root"].record or "") == RECORD


def test_no_secret_in_the_result(vm_module: Runner) -> None:
    assert "canary" not in str(vm_module(**VM))


def test_a_guest_that_ignores_the_request_is_not_cut_off(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    world.guest_obeys = False
    result = vm_module(**EXISTING, state="stopped", shutdown_timeout=1)
    assert result["failed"] and result["error"]["code"] == "needs_consent"
    assert world.domains["a"].state == "running"
    vm_module(**EXISTING, state="absent", shutdown_timeout=1)
    assert "a" not in world.domains and set(world.trash) == {"a.root", "a.seed"}


def test_a_vm_of_another_node_is_refused(vm_module: Runner, world: World) -> None:
    vm_module(**VM)
    result = vm_module(**{**VM, "node": "node-2"})
    assert result["error"]["code"] == "in_use_elsewhere" and "node-1" in result["msg"]


def test_without_the_node_file_it_says_what_is_missing(run_module: Runner) -> None:
    from ansible_collections.virtfleet.cloud.plugins.modules import virt_rbd_vm

    result = run_module(virt_rbd_vm.main, node_config="/nowhere/node.json", **VM)
    assert result["error"]["code"] == "not_found" and "/nowhere/node.json" in result["msg"]


def test_info_reports_state_and_address(vm_module: Runner, info_module: Runner) -> None:
    vm_module(**VM)
    result = info_module()
    assert result["vms"] == [{"name": "a", "id": ID, "state": "running", "ip": "192.0.2.1"}]
    assert result["capacity"] == {"vcpus": 8, "memory_mib": 4096}
    assert info_module(names=["b"])["vms"] == []


def test_info_reports_what_a_registry_can_be_rebuilt_from(
    vm_module: Runner, info_module: Runner, node_config: str
) -> None:
    networks = [{"mac": "52:54:00:12:34:56"}, {"mac": "52:54:00:12:34:57", "bridge": "br0", "vlan": 7}]
    disks = [{"name": "data", "size_gib": 3, "serial": "one"}]
    sizes = {"memory_mib": 128, "memory_max_mib": 256, "vcpus": 1, "vcpus_max": 2}
    vm_module(**VM | sizes | {"networks": networks, "disks": disks, "project": "shop", "record": RECORD})
    (vm,) = info_module(details=True, node_config=node_config)["vms"]
    facts = {"disk_gib": 10, "parent": "img@golden", "owner": "node-1", "moving_to": None, "record": RECORD}
    wanted = {"project": "shop", "image": "img", "networks": networks, "disks": disks}
    assert vm["details"] == sizes | facts | wanted


def test_info_reports_the_end_of_the_console_log(
    vm_module: Runner, info_module: Runner, node_config: str, tmp_path: Path
) -> None:
    vm_module(**VM)
    config = Path(node_config)
    config.write_text(json.dumps(json.loads(config.read_text()) | {"console_log_dir": str(tmp_path)}))
    (vm,) = info_module(console_lines=2, node_config=node_config)["vms"]
    assert vm["console_log"] == []
    (tmp_path / "a-console.log").write_bytes(b"one\r\ntwo\r\n\xff three")
    (vm,) = info_module(console_lines=2, node_config=node_config)["vms"]
    assert vm["console_log"] == ["two", "\ufffd three"]


@pytest.mark.parametrize(
    ("networks", "tags_vlans", "problem"),
    [
        ([{"bridge": "br7"}, {"network": "lan"}], True, "there is no bridge br7; there is no network lan"),
        ([{"bridge": "br0", "vlan": 20}], False, "its libvirt puts no interface on a bridge into a VLAN"),
    ],
)
def test_a_network_that_the_node_has_not_is_refused_before_anything_is_made(
    vm_module: Runner, world: World, networks: list[dict[str, Any]], tags_vlans: bool, problem: str
) -> None:
    world.tags_vlans = tags_vlans
    nics = [{"mac": f"52:54:00:12:34:{number:02}", **nic} for number, nic in enumerate(networks)]
    result = vm_module(**VM | {"networks": nics})
    assert problem in result["msg"] and "bridge br0, network default" in result["msg"]
    assert result["error"]["code"] == "not_found"
    assert world.mutations == []


def test_interfaces_are_in_the_domain_and_in_the_result(vm_module: Runner, world: World) -> None:
    nics = [{"mac": "52:54:00:12:34:00", "address": "192.0.2.5/24"}, {"mac": "52:54:00:12:34:01", "bridge": "br0"}]
    result = vm_module(**VM | {"networks": nics})
    assert (result["vm"]["networks"], result["vm"]["mac"]) == (nics, "52:54:00:12:34:00")
    assert mac_addresses(world.xml["a"]) == ("52:54:00:12:34:00", "52:54:00:12:34:01")


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ([], VM),
        ([VM], {**EXISTING, "state": "present", "disk_gib": 11}),
        ([VM], {**EXISTING, "state": "present", "disks": [{"name": "data", "size_gib": 1}]}),
    ],
)
def test_a_full_pool_refuses_what_needs_room_and_lets_the_rest_pass(
    vm_module: Runner, world: World, before: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    for arguments in before:
        vm_module(**arguments)
    world.mutations.clear()
    world.full = True
    for check in (True, False):
        refused = vm_module(check=check, **wanted)
        assert refused["error"]["code"] == "no_capacity" and refused["untouched"]
    assert world.mutations == []
    assert not before or vm_module(**EXISTING, state="stopped")["changed"]
    assert not before or vm_module(**EXISTING, state="absent")["changed"]


def test_a_disk_that_the_guest_holds_leaves_everything(vm_module: Runner, world: World) -> None:
    vm_module(**VM, disks=[{"name": "data", "size_gib": 1}])
    world.guest_obeys = False
    refused = vm_module(**EXISTING, state="present", disks=[])
    assert refused["error"]["code"] == "timeout" and refused["untouched"]
    half = vm_module(**EXISTING, state="present", disks=[], memory_mib=256, vcpus=1)
    assert half["error"]["code"] == "timeout" and not half["untouched"]


@pytest.mark.parametrize("state", ["stopped", "running"])
def test_a_volume_that_somebody_else_has_open_is_not_deleted(vm_module: Runner, world: World, state: str) -> None:
    vm_module(**{**VM, "state": state})
    world.volumes["a.root"] = replace(world.volumes["a.root"], watchers=2)
    world.mutations.clear()
    refused = vm_module(**EXISTING, state="absent")
    assert refused["error"]["code"] == "in_use_elsewhere" and refused["untouched"] and world.mutations == []
