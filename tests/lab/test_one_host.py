# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The whole cloud on one machine, by inventories/example-one-host. On a bare host of a lab, see ./test one-host."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT, Lab, until

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "inventories" / "example-one-host"
HOST = "node-1"


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The example, with what is true of the lab's host in the place of its addresses and devices."""
    assert lab.hosts("virtualization") == [HOST], "this is for the lab of ./test one-host"
    inventory = tmp_path_factory.mktemp("one") / "production"
    shutil.copytree(EXAMPLE, inventory)
    settings, address = lab.settings(), lab.address(HOST)
    network, host = settings["firewall_management_network"][0], yaml.safe_load(own(lab).read_text())
    words = {
        "10.0.10.11": address,
        "10.0.10.0/24": network,
        "/dev/sdb": host["ceph_osd_devices"][0],
        "49152": "2048",
        "libvirt_accelerator: kvm": f"libvirt_accelerator: {settings['libvirt_accelerator']}",
    }
    for file in (inventory / "hosts.yml", inventory / "group_vars" / "all" / "main.yml"):
        text = file.read_text()
        for example, real in words.items():
            text = text.replace(example, real)
        file.write_text(text)
    names = (
        "ansible_ssh_private_key_file",
        "ansible_ssh_common_args",
        "vm_ssh_authorized_keys",
        "ceph_osd_memory_target",
    )
    reached = {name: settings[name] for name in names} | {"image_build_mirror": settings["lab_apt_mirror"]}
    (inventory / "group_vars" / "all" / "reached.yml").write_text(yaml.safe_dump(reached))
    yield Lab(inventory / "hosts.yml", name=lab.name)


def own(lab: Lab) -> Path:
    """What the lab's inventory says to the host alone."""
    return lab.inventory.parent / "host_vars" / f"{HOST}.yml"


def test_it_comes_up_by_the_two_commands_of_the_guide(machine: Lab) -> None:
    for playbook in ("make_secrets", "site"):
        result = machine.play(f"playbooks/{playbook}.yml", minutes=25)
        assert result.ok, result.output
    again = machine.play("playbooks/site.yml")
    assert again.ok and again.unchanged, again.output


def test_a_machine_runs_there_and_ceph_says_that_it_has_one_copy(machine: Lab) -> None:
    created = machine.play("playbooks/create_vm.yml", name="only", ram=256, disk=5, wait=True)
    assert created.ok, created.output
    try:
        until(lambda: machine.on(HOST, "virsh", "domstate", "only").strip() == "running", "the virtual machine")
        assert "POOL_NO_REDUNDANCY" in machine.on(HOST, "ceph", "health", "detail")
        assert machine.sql("SELECT node FROM virtfleet.vm WHERE name = 'only'", HOST) == HOST
    finally:
        assert machine.play("playbooks/delete_vm.yml", name="only", purge=True, force=True).ok
