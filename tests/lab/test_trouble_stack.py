# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A part of the stack dies, or a host does while site.yml is at it; the rest goes on, and the next run finishes it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import MINUTE, ROOT, Lab, Result, until
from .test_monitoring import query
from .test_trouble import ceph_units

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"ram": 128, "disk": 2}
# A host that runs no VMs, and so one that dies without taking any along.
HOST = "node-3"


def active_manager(lab: Lab) -> str:
    return str(lab.ceph("mgr", "dump")["active_name"])


def works(lab: Lab, name: str) -> None:
    """A VM comes up, is listed, and goes away again."""
    for result in (
        lab.play("playbooks/create_vm.yml", name=name, **SMALL),
        lab.play("playbooks/list_vms.yml"),
        lab.play("playbooks/delete_vm.yml", name=name, purge=True, force=True),
    ):
        assert result.ok, result.output


@pytest.mark.parametrize("kind", ["mon", "osd"])
def test_a_killed_monitor_or_osd_does_not_stop_vms(lab: Lab, kind: str) -> None:
    units = ceph_units(lab, kind)[HOST]
    lab.on(HOST, "systemctl", "kill", "--signal=KILL", *units)
    lab.on(HOST, "systemctl", "stop", *units)
    try:
        works(lab, "one-less")
    finally:
        lab.on(HOST, "systemctl", "start", *units)
    lab.wait_for_health()


def test_an_osd_that_was_stopped_by_hand_is_started_again(lab: Lab) -> None:
    lab.on(HOST, "systemctl", "stop", "ceph-osd@*")
    result = lab.play("playbooks/site.yml", "--tags", "ceph")
    assert result.ok, result.output
    assert result.changed_hosts == {HOST}, result.output
    lab.wait_for_health()


def test_an_osd_that_cannot_start_stops_its_own_host_only(lab: Lab) -> None:
    (unit,) = ceph_units(lab, "osd")[HOST]
    lab.on(HOST, "systemctl", "stop", unit)
    lab.on(HOST, "systemctl", "mask", "--runtime", unit)
    try:
        result = lab.play("playbooks/site.yml", "--tags", "ceph,manager", "--skip-tags", "preflight")
        assert not result.ok and [host for host, counts in result.recap.items() if counts["failed"]] == [HOST]
        assert "Run the timers" in result.output and unit in result.output, result.output
    finally:
        lab.on(HOST, "systemctl", "unmask", "--runtime", unit)
        lab.on(HOST, "systemctl", "start", unit)
    lab.wait_for_health()


def test_the_monitor_that_made_the_cluster_is_made_anew(lab: Lab) -> None:
    first, before = lab.hosts("ceph_mon")[0], lab.ceph("fsid")
    lab.on(HOST, "ceph", "mon", "remove", first)
    lab.on(first, "systemctl", "stop", f"ceph-mon@{first}")
    # Its OSD stays: by the configuration a preflight knows that what its device holds is one of ours.
    lab.on(first, "sh", "-c", "rm -r /var/lib/ceph/mon/* /etc/ceph/bootstrap /etc/ceph/*.keyring")
    # libvirt gives its storage pool up when it finds no monitor.
    tags = ("--tags", "ceph,libvirt")
    result = lab.play("playbooks/site.yml", *tags)
    assert result.ok, result.output
    assert lab.ceph("fsid") == before
    assert set(lab.ceph("quorum_status")["quorum_names"]) == set(lab.hosts("ceph_mon"))
    again = lab.play("playbooks/site.yml", *tags)
    assert again.ok and again.unchanged, again.output
    lab.wait_for_health()
    works(lab, "monitor-anew")


def test_pools_have_as_many_copies_as_the_settings_say(lab: Lab) -> None:
    for copies in (2, 3):
        result = lab.play("playbooks/site.yml", "--tags", "ceph", ceph_pool_size=copies)
        assert result.ok and not result.unchanged, result.output
        assert lab.ceph("osd", "pool", "get", "libvirt-pool", "size")["size"] == copies
    assert lab.play("playbooks/site.yml", "--tags", "ceph").unchanged
    lab.wait_for_health()


def test_a_killed_manager_of_ceph_is_replaced_and_its_metrics_are_read_again(lab: Lab) -> None:
    killed = active_manager(lab)
    unit = f"ceph-mgr@{killed}"
    lab.on(killed, "systemctl", "kill", "--signal=KILL", unit)
    lab.on(killed, "systemctl", "stop", unit)
    try:
        works(lab, "no-manager")
        until(lambda: active_manager(lab) not in ("", killed), "another manager of Ceph")
        taken_over = f"ceph_health_status{{instance='{active_manager(lab)}'}}"
        until(lambda: bool(query(lab, taken_over)), "the metrics of Ceph from the other manager")
    finally:
        lab.on(killed, "systemctl", "start", unit)
    lab.wait_for_health()


def test_a_wrong_password_is_told_and_breaks_nothing(lab: Lab) -> None:
    result = lab.play("playbooks/create_vm.yml", name="no-entry", registry_password="of-somebody-else", **SMALL)
    assert not result.ok
    said = " ".join(result.output.split())
    assert "does not let us in" in said and "registry_password" in said, result.output
    assert "of-somebody-else" not in result.output
    assert lab.sql("SELECT count(*) FROM virtfleet.vm WHERE name = 'no-entry'") == "0"


def test_a_host_that_dies_in_the_middle_of_site_is_finished_by_the_next_run(lab: Lab, tmp_path: Path) -> None:
    # What is missing of the parts before and after the moment at which it dies.
    lab.on(HOST, "rm", "/etc/ssl/certs/virtfleet.crt")
    lab.on(HOST, "apt-get", "-qq", "purge", "prometheus-node-exporter", minutes=3)
    log = tmp_path / "site.log"
    with log.open("w") as output:
        run = subprocess.Popen(
            ["ansible-playbook", "-i", str(lab.inventory), "playbooks/site.yml"],
            cwd=ROOT,
            env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: "TASK [virtfleet.cloud.ceph : " in log.read_text(), "the play of Ceph", 5 * MINUTE)
            subprocess.run(["podman", "kill", f"{lab.name}-{HOST}"], check=True, capture_output=True)
            assert run.wait(timeout=10 * MINUTE) != 0
        finally:
            run.kill()
            subprocess.run(["podman", "start", f"{lab.name}-{HOST}"], check=True, capture_output=True)
    recap = Result(log.read_text(), ok=False).recap
    assert recap[HOST]["unreachable"] and not recap["node-1"]["failed"] and not recap["manager-1"]["failed"]
    until(lambda: lab.on(HOST, "systemctl", "is-active", "ssh").strip() == "active", f"{HOST} is up")
    lab.wait_for_health()

    result = lab.play("playbooks/site.yml")
    assert result.ok, result.output
    lab.on(HOST, "systemctl", "is-active", "prometheus-node-exporter")
    again = lab.play("playbooks/site.yml")
    assert again.ok and again.unchanged, again.output


def test_one_more_node_changes_nothing_on_the_others(lab: Lab, tmp_path: Path) -> None:
    more = tmp_path / "more.yml"
    more.write_text(json.dumps({"virtualization": {"hosts": {HOST: {}}}}))
    try:
        begin = time.monotonic()
        with lab.nothing_restarts(["manager-1", "node-1", "node-2"]):
            result = lab.play("playbooks/site.yml", "-i", str(more))
        print(f"one more node: {time.monotonic() - begin:.0f} s")
        assert result.ok, result.output
        # Prometheus has one more to ask, and the manager one more to log in to.
        assert result.changed_hosts == {HOST, *lab.hosts("monitoring")}, result.output
        roles = {task.partition(" : ")[0] for task in result.changes("manager-1")}
        assert roles == {"virtfleet.cloud.prometheus", "virtfleet.cloud.manager"}
        # The registry knows it from before, where this ran on the same lab.
        assert lab.play("playbooks/uncordon_node.yml", "-i", str(more), node=HOST).ok
        created = lab.play("playbooks/create_vm.yml", "-i", str(more), name="newcomer", node=HOST, **SMALL)
        assert created.ok, created.output
        assert lab.on(HOST, "virsh", "domstate", "newcomer").strip() == "running"
        again = lab.play("playbooks/site.yml", "-i", str(more))
        assert again.ok and again.unchanged, again.output
    finally:
        lab.play("playbooks/delete_vm.yml", "-i", str(more), name="newcomer", purge=True, force=True)
        # The registry keeps a node that had VMs; nothing is put there any more.
        lab.play("playbooks/cordon_node.yml", "-i", str(more), node=HOST)
        assert lab.play("playbooks/site.yml").ok
