# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles promise beyond the first way up: parts added later, devices, a foreign cluster, bridges, images."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .conftest import MINUTE, ROOT, Lab, Result

POOL = "libvirt-pool"
HOST = "manager-1"
MIB = 1024**2
GIB = 1024**3


def run(*command: str, timeout: int = MINUTE) -> str:
    """The output of a command on this machine."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True).stdout.strip()


def site(lab: Lab, *arguments: str, **variables: Any) -> Result:
    # The roles refuse by themselves what a preflight finds before them.
    return lab.play("playbooks/site.yml", "--skip-tags", "preflight", *arguments, **variables)


def succeeds(result: Result) -> None:
    assert result.ok, result.output


def changes_nothing(result: Result) -> None:
    assert result.ok and result.unchanged, result.output


def is_refused(result: Result, *words: str) -> None:
    assert not result.ok
    # Ansible wraps long messages.
    said = " ".join(result.output.split())
    assert [word for word in words if word not in said] == [], result.output


def inventory(directory: Path, groups: list[str], **variables: Any) -> Path:
    """An inventory that puts HOST into groups, to be given on top of the lab's."""
    file = directory / "more.yml"
    file.touch(mode=0o600)
    file.write_text(json.dumps({group: {"hosts": {HOST: variables}} for group in groups}))
    return file


class Disk:
    """A loop device over a sparse file, seen by HOST."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.device = self._attached(file)

    def show(self, lab: Lab) -> None:
        """Make the device file in HOST, which was started before there was one."""
        lab.on(HOST, "sh", "-c", self._node(self.device))

    def checksum(self) -> str:
        run("sync", str(self.file))
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def detach(self) -> None:
        run("losetup", "--detach", self.device)

    @classmethod
    def _attached(cls, file: Path) -> str:
        for _try in range(5):
            # The kernel may offer a number whose device file nobody made, and others may be quicker to take it.
            device = run("losetup", "--find").split()[0]
            run("sh", "-c", cls._node(device))
            if subprocess.run(["losetup", device, file], check=False).returncode == 0:
                return device
            time.sleep(1)
        raise AssertionError("no loop device was to be had")

    @staticmethod
    def _node(device: str) -> str:
        return f"[ -b {device} ] || mknod -m 0660 {device} b 7 {device.removeprefix('/dev/loop')}"


@pytest.fixture
def attach(lab: Lab, tmp_path: Path) -> Iterator[Callable[[str, int], Disk]]:
    """Makes disks, and detaches all of them at the end."""
    disks: list[Disk] = []

    def make(name: str, size: int) -> Disk:
        file = tmp_path / f"{name}.img"
        with file.open("wb") as opened:
            opened.truncate(size)
        # Remembered before anything else can fail, so that it is detached in any case.
        disk = Disk(file)
        disks.append(disk)
        disk.show(lab)
        return disk

    yield make
    for disk in disks:
        disk.detach()


def test_devices_with_data_are_refused_and_stay_as_they_are(
    lab: Lab, tmp_path: Path, attach: Callable[[str, int], Disk]
) -> None:
    filesystem, table, foreign = (attach(name, 64 * MIB) for name in ("filesystem", "table", "foreign"))
    run("mkfs.ext4", "-q", filesystem.device)
    subprocess.run(["sfdisk", "--quiet", table.file], input="start=2048, type=83\n", text=True, check=True)
    # How the label of BlueStore begins: an OSD of another cluster that was cut off while it was made.
    with foreign.file.open("r+b") as file:
        file.write(f"bluestore block device\n{uuid.uuid4()}\n".encode())
    disks = [filesystem, table, foreign]
    before = [disk.checksum() for disk in disks]

    more = inventory(tmp_path, ["ceph_osd"], ceph_osd_devices=[disk.device for disk in disks])
    result = site(lab, "-i", str(more), "--tags", "ceph")

    is_refused(
        result,
        f"{filesystem.device} of {HOST} holds data (ext4)",
        f"{table.device} of {HOST} holds data (dos)",
        f"{foreign.device} of {HOST} holds data (ceph_bluestore)",
        "Take it out of ceph_osd_devices, or name it in ceph_osd_wipe_devices",
    )
    assert [disk.checksum() for disk in disks] == before
    assert "ceph.conf" not in lab.on(HOST, "ls", "/etc/ceph")
    assert lab.ceph("osd", "stat")["num_osds"] == 3


def documented_removal(osd: int, device: str) -> str:
    """The commands of the role's README for the parts of HOST."""
    readme = (ROOT / "roles" / "ceph" / "README.md").read_text()
    section = readme.split("## Taking parts away")[1].split("## ")[0]
    commands = "\n".join(line for line in section.splitlines() if line.startswith("    "))
    commands = commands.replace("node-4", HOST).replace("sdb", device.removeprefix("/dev/"))
    return re.sub(r"\b3\b", str(osd), commands)


@pytest.mark.slow
def test_parts_can_be_added_later_and_taken_away(lab: Lab, tmp_path: Path, attach: Callable[[str, int], Disk]) -> None:
    disk = attach("added", 4 * GIB)
    run("mkfs.ext4", "-q", disk.device)
    devices = {"ceph_osd_devices": [disk.device], "ceph_osd_wipe_devices": [disk.device]}
    more = inventory(tmp_path, ["ceph_mon", "ceph_mgr", "ceph_osd"], **devices)
    # The newcomer comes first in the group of the monitors, and must not make a cluster of its own.
    monitors = {"hosts": dict.fromkeys([HOST, "node-1", "node-2", "node-3"])}
    more.write_text(json.dumps(json.loads(more.read_text()) | {"monitors": monitors}))
    # The others have to get through to what is new there.
    tags = ("--tags", "firewall,ceph")
    extended = ("-i", str(more), *tags)
    cluster = lab.ceph("status")["fsid"]
    try:
        with lab.nothing_restarts(lab.hosts("ceph_mon")):
            succeeds(site(lab, *extended, ceph_mon_group="monitors"))

        assert set(lab.ceph("quorum_status")["quorum_names"]) == {"node-1", "node-2", "node-3", HOST}
        managers = lab.ceph("mgr", "dump")
        names = {managers["active_name"], *(standby["name"] for standby in managers["standbys"])}
        assert names == {"node-1", "node-2", HOST}
        osds = {osd["osd"]: (osd["up"], osd["in"]) for osd in lab.ceph("osd", "dump")["osds"]}
        assert osds == dict.fromkeys(range(4), (1, 1))
        assert lab.ceph("osd", "find", "3")["host"] == HOST
        lab.wait_for_health()

        changes_nothing(site(lab, *extended, ceph_mon_group="monitors"))
    finally:
        lab.on(HOST, "bash", "-euc", documented_removal(3, disk.device), minutes=5)
    succeeds(site(lab, *tags))
    changes_nothing(site(lab, *tags))
    assert set(lab.ceph("quorum_status")["quorum_names"]) == {"node-1", "node-2", "node-3"}
    assert (lab.ceph("osd", "stat")["num_osds"], lab.ceph("status")["fsid"]) == (3, cluster)
    assert lab.address(HOST) not in lab.on("node-1", "cat", "/etc/ceph/ceph.conf")
    lab.wait_for_health()


@pytest.mark.slow
def test_pool_and_client_follow_the_settings(lab: Lab) -> None:
    """As after a change of the monitors, or of the pool: what is there says something else."""
    pool = lab.on("node-1", "virsh", "pool-dumpxml", "storagepool")
    fewer = re.sub(r"<(uuid|capacity|allocation|available).*", "", pool.replace(host_line(pool), "", 1))
    # libvirtd that was restarted meanwhile does not run it.
    lab.on("node-1", "sh", "-c", "virsh pool-destroy storagepool; virsh pool-undefine storagepool")
    lab.on("node-1", "virsh", "pool-define", "/dev/stdin", stdin=fewer)
    lab.on("node-1", "ceph", "auth", "caps", "client.libvirt", "mon", "profile rbd")
    assert host_line(pool) not in lab.on("node-1", "virsh", "pool-dumpxml", "storagepool")

    succeeds(site(lab, "--tags", "ceph,libvirt"))

    assert host_line(pool) in lab.on("node-1", "virsh", "pool-dumpxml", "storagepool")
    caps = lab.ceph("auth", "get", "client.libvirt")[0]["caps"]
    assert caps["osd"] == caps["mgr"] == f"profile rbd pool={POOL}"
    changes_nothing(site(lab, "--tags", "ceph,libvirt"))


def host_line(pool: str) -> str:
    """The first monitor in the XML of a storage pool."""
    return re.findall(r"<host [^>]*>", pool)[0]


@pytest.fixture
def client_only(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """An inventory without any monitor: HOST is a client, and the lab's cluster is somebody else's."""
    conf = lab.on("node-1", "cat", "/etc/ceph/ceph.conf")
    key = lab.on("node-1", "ceph", "auth", "get-key", "client.libvirt")
    variables = {
        "ansible_host": lab.address(HOST),
        "ceph_external": True,
        "external_conf": conf,
        "external_key": key,
    }
    inventory(tmp_path, ["virtualization"], **variables)
    (tmp_path / "group_vars").symlink_to(lab.inventory.parent / "group_vars")
    yield Lab(tmp_path / "more.yml", "")
    lab.on(HOST, "rm", "-f", "/etc/ceph/ceph.conf", "/etc/ceph/ceph.client.libvirt.keyring")


@pytest.mark.slow
def test_an_existing_cluster_can_be_used(lab: Lab, client_only: Lab) -> None:
    key = lab.on("node-1", "ceph", "auth", "get-key", "client.libvirt")
    conf_given = {"ceph_external_conf": "{{ external_conf }}"}
    key_given = {"ceph_external_client_key": "{{ external_key }}"}
    without_conf = site(client_only, "--tags", "ceph", "-vvv", **key_given)
    is_refused(without_conf, "ceph_external_conf must be the text of the ceph.conf")
    without_key = site(client_only, "--tags", "ceph", **conf_given)
    is_refused(
        without_key, "ceph_external_client_key must be the bare key that `ceph auth get-key client.libvirt` shows"
    )

    first = site(client_only, "--tags", "ceph", "-vvv", "--diff", **conf_given, **key_given)

    succeeds(first)
    assert "debian-13" in lab.on(HOST, "rbd", "--id", "libvirt", "ls", POOL).split()
    keyring = "/etc/ceph/ceph.client.libvirt.keyring"
    assert lab.on(HOST, "stat", "--format", "%a %U", keyring).strip() == "600 root"
    assert key not in first.output + without_conf.output
    changes_nothing(site(client_only, "--tags", "ceph", **conf_given, **key_given))


def test_what_a_node_lacks_is_refused_at_once(lab: Lab) -> None:
    before = lab.on("node-2", "sha256sum", "/etc/virtfleet/node.json", "/etc/libvirt/qemu.conf")
    lab.on("node-2", "sh", "-c", "[ ! -e /dev/kvm ] || mv /dev/kvm /dev/kvm.away")
    try:
        lacking = {"libvirt_bridge": "nobridge0", "libvirt_ceph_client": "nobody", "libvirt_accelerator": "kvm"}
        is_refused(
            site(lab, "--tags", "libvirt", "--limit", "node-2", **lacking),
            "There is no bridge nobridge0 on node-2: make it",
            "/etc/ceph/ceph.client.nobody.keyring is not on node-2: run role ceph there first",
            "/dev/kvm of node-2 is not there or cannot be opened",
        )
    finally:
        lab.on("node-2", "sh", "-c", "[ ! -e /dev/kvm.away ] || mv /dev/kvm.away /dev/kvm")
    is_refused(
        site(lab, "--tags", "libvirt", "--limit", "node-2", libvirt_network_subnet="10.20.0.0/16"),
        "libvirt_network_subnet must be a /24 that ends in .0, like 192.168.122.0/24, not 10.20.0.0/16",
    )
    assert lab.on("node-2", "sha256sum", "/etc/virtfleet/node.json", "/etc/libvirt/qemu.conf") == before


def test_guests_can_be_on_a_bridge_of_the_node(lab: Lab) -> None:
    before = lab.on("node-2", "cat", "/etc/virtfleet/node.json")
    lab.on("node-2", "ip", "link", "add", "guests0", "type", "bridge")
    lab.on("node-2", "ip", "link", "set", "guests0", "up")
    node = ("--tags", "libvirt", "--limit", "node-2")
    vm: dict[str, Any] = {"name": "bridged", "node": "node-2", "ram": 128, "cpu": 1, "disk": 2}
    try:
        succeeds(site(lab, *node, libvirt_bridge="guests0"))
        changes_nothing(site(lab, *node, libvirt_bridge="guests0"))
        succeeds(lab.play("playbooks/create_vm.yml", **vm))
        assert "<source bridge='guests0'/>" in lab.on("node-2", "virsh", "dumpxml", "bridged")
        assert lab.on("node-2", "virsh", "domstate", "bridged").strip() == "running"
        assert "vnet" in lab.on("node-2", "ip", "-oneline", "link", "show", "master", "guests0")
        changes_nothing(lab.play("playbooks/create_vm.yml", **vm))
    finally:
        deleted = lab.play("playbooks/delete_vm.yml", name="bridged", purge=True, force=True)
        restored = site(lab, *node)
        lab.on("node-2", "ip", "link", "delete", "guests0")
    succeeds(deleted)
    succeeds(restored)
    assert lab.on("node-2", "cat", "/etc/virtfleet/node.json") == before


@dataclass(frozen=True)
class Source:
    """A disk image: its file in qcow2, where it is served, and what it holds."""

    file: Path
    url: str
    checksum: str
    content: str


@contextmanager
def served(directory: Path, address: str) -> Iterator[str]:
    """Serves a directory to the lab; gives the URL."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture
def source(lab: Lab, tmp_path: Path) -> Iterator[Source]:
    raw = tmp_path / "small.raw"
    # Data, a hole, and an end within a chunk: 9 MiB and a half.
    raw.write_bytes(random.Random(1).randbytes(MIB) + bytes(7 * MIB) + random.Random(2).randbytes(3 * MIB // 2))
    qcow2 = tmp_path / "small.qcow2"
    lab.on("node-1", "mkdir", "-p", "/root/convert")
    run("podman", "cp", str(raw), f"{lab.container('node-1')}:/root/convert/small.raw")
    lab.on("node-1", "qemu-img", "convert", "-O", "qcow2", "/root/convert/small.raw", "/root/convert/small.qcow2")
    run("podman", "cp", f"{lab.container('node-1')}:/root/convert/small.qcow2", str(qcow2))
    lab.on("node-1", "rm", "-r", "/root/convert")
    gateway = lab.address(HOST).rsplit(".", 1)[0] + ".1"
    with served(tmp_path, gateway) as url:
        yield Source(
            qcow2,
            f"{url}/small.qcow2",
            "sha256:" + hashlib.sha256(qcow2.read_bytes()).hexdigest(),
            hashlib.sha256(raw.read_bytes()).hexdigest(),
        )


@contextmanager
def image_removed_afterwards(lab: Lab, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        image = f"{POOL}/{name}"
        lab.on("node-1", "rbd", "snap", "unprotect", f"{image}@golden")
        lab.on("node-1", "rbd", "snap", "purge", "--no-progress", image)
        lab.on("node-1", "rbd", "rm", "--no-progress", image)
        lab.sql(f"DELETE FROM virtfleet.image WHERE name = '{name}'")


def exported(lab: Lab, image: str) -> str:
    command = f"rbd export --no-progress {POOL}/{image}@golden - | sha256sum"
    return lab.on("node-1", "bash", "-o", "pipefail", "-c", command).split()[0]


def is_golden(lab: Lab, image: str, content: str) -> None:
    snapshots = ceph_rbd(lab, "snap", "ls", f"{POOL}/{image}")
    assert [(snap["name"], snap["protected"]) for snap in snapshots] == [("golden", "true")]
    assert exported(lab, image) == content
    assert lab.sql(f"SELECT size_gib FROM virtfleet.image WHERE name = '{image}'") == "1"


def ceph_rbd(lab: Lab, *command: str) -> Any:
    return json.loads(lab.on("node-1", "rbd", *command, "--format", "json"))


def import_image(lab: Lab, name: str, **variables: Any) -> Result:
    return lab.play("playbooks/import_image.yml", image_name=name, image_version="", **variables)


def test_an_image_comes_from_a_url_and_stays(lab: Lab, source: Source, tmp_path: Path) -> None:
    given = {"image_url": source.url, "image_checksum": source.checksum}
    with image_removed_afterwards(lab, "from-url"):
        succeeds(import_image(lab, "from-url", **given))
        is_golden(lab, "from-url", source.content)
        changes_nothing(import_image(lab, "from-url", **given))
        other = tmp_path / "other.raw"
        other.write_bytes(bytes(MIB))
        changes_nothing(import_image(lab, "from-url", image_file=str(other)))
        is_golden(lab, "from-url", source.content)
        assert lab.on("node-1", "find", "/var/cache/virtfleet/images", "-name", "from-url*") == ""


def test_an_image_comes_from_a_file_of_the_controller(lab: Lab, source: Source) -> None:
    with image_removed_afterwards(lab, "from-file"):
        succeeds(import_image(lab, "from-file", image_file=str(source.file)))
        is_golden(lab, "from-file", source.content)
        changes_nothing(import_image(lab, "from-file", image_file=str(source.file)))


def test_an_image_without_one_good_source_is_refused(lab: Lab, source: Source) -> None:
    wrong = "sha256:" + "0" * 64
    is_refused(
        import_image(lab, "refused"), "Image refused is not in Ceph yet and needs one source, not 0: set image_file"
    )
    is_refused(import_image(lab, "refused", image_url=source.url), "image_url needs image_checksum, like sha256:")
    is_refused(import_image(lab, "refused", image_url=source.url, image_checksum=wrong), "did not match", "0" * 64)
    assert not [name for name in ceph_rbd(lab, "ls", POOL) if name.startswith("refused")]
    assert lab.sql("SELECT name FROM virtfleet.image WHERE name = 'refused'") == ""
