# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""One suite for the doubles of the unit tests and for what they stand for.

`pytest tests/adapters` runs it against the doubles; `pytest tests/adapters --real`, on a node, against its Ceph pool,
its libvirt, and libvirt's own test driver. The lab's tests do the latter.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import ceph, ceph_image, hypervisor
from ansible_collections.virtfleet.cloud.plugins.module_utils.domain_xml import Domain, Monitors, NodeConfig, render
from ansible_collections.virtfleet.cloud.plugins.module_utils.nic import Nic
from ansible_collections.virtfleet.cloud.plugins.module_utils.node_config import NODE_CONFIG, read_node_config
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph, FakeHypervisor, World
from ansible_collections.virtfleet.cloud.tests.unit.doubles_backup import BackupWorld

SECTOR = 512
MONITORS = (("10.0.0.1", 6789), ("10.0.0.2", 6789))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--real", action="store_true", help="run on a node, against its Ceph and its libvirt")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    real = metafunc.config.getoption("--real", default=False)
    if "hypervisor_kind" in metafunc.fixturenames:
        metafunc.parametrize("hypervisor_kind", ["qemu:///system", "test:///default"] if real else ["double"])
    if "ceph_kind" in metafunc.fixturenames:
        metafunc.parametrize("ceph_kind", ["ceph"] if real else ["double"])


@dataclass
class Pool:
    """An adapter of a pool with one golden image; what is made under `prefix` goes away at the end."""

    adapter: Any
    image: str
    prefix: str = field(default_factory=lambda: f"adapter-{uuid.uuid4().hex[:8]}")
    vm_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def volume(self) -> str:
        return f"{self.prefix}.root"


@pytest.fixture
def node() -> NodeConfig:
    return read_node_config(NODE_CONFIG)


def _fill(store: ceph_image.ImageStore, name: str) -> None:
    with store.new(name) as image:
        image.write([b"golden" + bytes(8 * 1024 * 1024 - 6)])


@pytest.fixture
def pool(ceph_kind: str, request: pytest.FixtureRequest) -> Iterator[Pool]:
    if ceph_kind == "double":
        yield Pool(FakeCeph(BackupWorld()), "img")
        return
    import rbd

    node: NodeConfig = request.getfixturevalue("node")
    with ceph.Ceph(node.ceph_conf, node.ceph_client, node.ceph_pool) as adapter:
        pool = Pool(adapter, f"adapter-image-{uuid.uuid4().hex[:8]}")
        store = ceph_image.ImageStore(adapter)
        _fill(store, pool.image)
        yield pool
        for name in (pool.volume, f"{pool.prefix}.seed"):
            if adapter.volume(name) is not None:
                adapter.remove(name)
        for entry in list(rbd.RBD().trash_list(adapter.ioctx)):
            if entry["name"] == pool.volume:
                rbd.RBD().trash_remove(adapter.ioctx, entry["id"])
        adapter.release_ownership(pool.vm_id)
        store.remove(pool.image)


@dataclass
class Host:
    """A libvirt adapter, the XML of a domain that it can start, and Ceph's monitors."""

    adapter: Any
    name: str
    vm_id: str
    xml: str
    monitors: Monitors
    guest_obeys: bool


@pytest.fixture
def host(hypervisor_kind: str, request: pytest.FixtureRequest) -> Iterator[Host]:
    name, vm_id = f"adapter-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    if hypervisor_kind == "double":
        world = World(guest_obeys=False)
        xml = domain(name, vm_id, double_node(), MONITORS)
        yield Host(FakeHypervisor(world), name, vm_id, xml, MONITORS, world.guest_obeys)
        return
    node: NodeConfig = request.getfixturevalue("node")
    with (
        ceph.Ceph(node.ceph_conf, node.ceph_client, node.ceph_pool) as storage,
        hypervisor.Hypervisor(hypervisor_kind) as adapter,
    ):
        monitors = storage.monitors()
        xml = domain(name, vm_id, node, monitors)
        if hypervisor_kind.startswith("test:"):
            xml = xml.replace('type="qemu"', 'type="test"', 1)
        volumes = [f"{name}.root", f"{name}.seed"]
        for volume in volumes:
            storage.write_seed(volume, bytes(SECTOR), vm_id, "digest")
        # A guest without an operating system does not hear the request; the test driver has no guest at all.
        yield Host(adapter, name, vm_id, xml, monitors, hypervisor_kind.startswith("test:"))
        if adapter.domain(name) is not None:
            adapter.power_off(name)
            adapter.undefine(name)
        for volume in volumes:
            storage.remove(volume)


def double_node() -> NodeConfig:
    return NodeConfig(
        accelerator="tcg",
        ceph_conf="/etc/ceph/ceph.conf",
        ceph_client="libvirt",
        ceph_pool="libvirt-pool",
        ceph_secret_uuid="11111111-0000-4000-8000-000000000000",
        network_type="network",
        network_name="default",
        console_log_dir="/var/log/libvirt/qemu",
    )


def domain(name: str, vm_id: str, node: NodeConfig, monitors: Monitors) -> str:
    return render(
        Domain(
            name=name,
            id=vm_id,
            project="default",
            image="img",
            memory_mib=64,
            vcpus=1,
            nics=(Nic(mac="52:54:00:00:ad:01"),),
            root_volume=f"{name}.root",
            seed_volume=f"{name}.seed",
            monitors=monitors,
            request_sha256="digest",
        ),
        node,
    )
