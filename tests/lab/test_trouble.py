# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Services that are down or silent: a bounded wait, and an error that names them and says what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import Lab, Result

SMALL: dict[str, Any] = {"ram": 128, "disk": 2, "node": "node-2"}
# Longer than any limit of ours with ansible-playbook around it, and far shorter than for ever.
BOUND_SECONDS = 150


@contextmanager
def down(lab: Lab, host: str, *units: str) -> Iterator[None]:
    """Services that are stopped."""
    lab.on(host, "systemctl", "stop", *units)
    try:
        yield
    finally:
        lab.on(host, "systemctl", "start", *units)
        if "libvirtd.service" in units:
            # libvirtd starts pools by itself once after a boot, and not when it comes back.
            lab.on(host, "sh", "-c", "virsh pool-info storagepool | grep -q running || virsh pool-start storagepool")


@contextmanager
def silent(lab: Lab, services: dict[str, list[str]]) -> Iterator[None]:
    """Services, by host, that take connections and never answer: their processes are stopped by a signal."""
    try:
        for host, units in services.items():
            lab.on(host, "systemctl", "kill", "--signal=STOP", *units)
        yield
    finally:
        for host, units in services.items():
            lab.on(host, "systemctl", "kill", "--signal=CONT", *units)


def ceph_units(lab: Lab, kind: str) -> dict[str, list[str]]:
    """The units of all monitors or OSDs, by host."""
    hosts = lab.hosts(f"ceph_{kind}")
    return {
        host: lab.on(
            host, "sh", "-c", f"systemctl list-units --plain --no-legend 'ceph-{kind}@*' | cut -d' ' -f1"
        ).split()
        for host in hosts
    }


def create(lab: Lab, name: str) -> Result:
    begin = time.monotonic()
    result = lab.play("playbooks/create_vm.yml", name=name, **SMALL)
    assert time.monotonic() - begin < BOUND_SECONDS
    return result


def finish(lab: Lab, name: str) -> None:
    """What trouble left half-made is finished by the same command, and goes away."""
    result = create(lab, name)
    assert result.ok, result.output
    assert create(lab, name).unchanged
    assert lab.play("playbooks/delete_vm.yml", name=name, purge=True, force=True).ok


def row(lab: Lab, name: str) -> str:
    query = (
        f"SELECT state, step, error->>'code', lease_by FROM virtfleet.vm WHERE name = '{name}' AND state <> 'deleted'"
    )
    return lab.sql(query)


LIBVIRT = ("libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "libvirtd.service")


def test_libvirt_down(lab: Lab) -> None:
    with down(lab, "node-2", *LIBVIRT):
        result = create(lab, "no-libvirt")
    assert not result.ok
    assert "libvirt at qemu:///system does not answer" in result.output and "systemctl status libvirtd" in result.output
    assert row(lab, "no-libvirt") == "creating|Clone, seed, define and start|unreachable|"
    finish(lab, "no-libvirt")


def test_libvirt_silent(lab: Lab) -> None:
    with silent(lab, {"node-2": ["libvirtd.service"]}):
        result = create(lab, "mute-libvirt")
    assert not result.ok
    assert "libvirt at qemu:///system did not answer within 10 s" in result.output
    finish(lab, "mute-libvirt")


@pytest.mark.parametrize("kind", ["mon", "osd"])
def test_ceph_silent(lab: Lab, kind: str) -> None:
    """A volume that cannot be read is not taken for one that is not there."""
    name = f"mute-{kind}"
    with silent(lab, ceph_units(lab, kind)):
        result = create(lab, name)
    assert not result.ok
    assert "Ceph did not answer while" in result.output and "ceph -s" in result.output
    assert row(lab, name).endswith("|unreachable|")
    lab.wait_for_health()
    finish(lab, name)


def test_a_vm_is_not_deleted_while_ceph_is_silent(lab: Lab) -> None:
    assert create(lab, "kept").ok
    with silent(lab, ceph_units(lab, "mon")):
        result = lab.play("playbooks/delete_vm.yml", name="kept", force=True)
    assert not result.ok and "Ceph did not answer while" in result.output
    lab.wait_for_health()
    assert lab.on("node-2", "virsh", "domstate", "kept").strip() == "running"
    assert lab.play("playbooks/delete_vm.yml", name="kept", purge=True, force=True).ok


def test_a_node_that_is_away(lab: Lab) -> None:
    assert create(lab, "alone").ok
    with lab.away("node-2"):
        for playbook in ("suspend_vm", "delete_vm"):
            result = lab.play(f"playbooks/{playbook}.yml", name="alone")
            assert not result.ok and "Node node-2 does not answer" in result.output, result.output
            assert row(lab, "alone").endswith("|Reach node node-2|unreachable|")
    assert lab.on("node-2", "virsh", "domstate", "alone").strip() == "running"
    assert lab.play("playbooks/delete_vm.yml", name="alone", purge=True, force=True).ok


def test_postgresql_silent(lab: Lab) -> None:
    with silent(lab, {"manager-1": ["postgresql@*-main.service"]}):
        result = create(lab, "mute-registry")
    assert not result.ok
    assert "PostgreSQL at" in result.output and "registry_host" in result.output
    assert "mute-registry" not in lab.on("node-2", "virsh", "list", "--all", "--name")


def test_redis_silent(lab: Lab) -> None:
    with silent(lab, {"manager-1": ["redis-server.service"]}):
        result = create(lab, "mute-cache")
        assert result.ok and "Redis at" in result.output, result.output
        assert lab.play("playbooks/suspend_vm.yml", name="mute-cache").ok
    assert lab.play("playbooks/delete_vm.yml", name="mute-cache", purge=True, force=True).ok
