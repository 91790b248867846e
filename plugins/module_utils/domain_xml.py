# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM as libvirt domain XML, and what of a domain's XML is ours.

Pure. Only XML that libvirt itself wrote is parsed. Format: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from .console_log import console_log_path
from .nic import Nic
from .plan_types import Hardware
from .spec import RESERVED_DISKS

NAMESPACE = "https://virtfleet.cloud/xmlns/vm/1"
_VM_TAG = f"{{{NAMESPACE}}}vm"

Monitors = tuple[tuple[str, int], ...]

ET.register_namespace("virtfleet", NAMESPACE)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How domains are built on one node; read from /etc/virtfleet/node.json, which role libvirt writes."""

    accelerator: str
    ceph_conf: str
    ceph_client: str
    ceph_pool: str
    ceph_secret_uuid: str
    network_type: str
    network_name: str
    console_log_dir: str

    @property
    def link(self) -> tuple[str, str]:
        """Kind (network, bridge) and name of what VMs are connected to that ask for nothing else."""
        return self.network_type, self.network_name


@dataclass(frozen=True, slots=True)
class DiskDevice:
    """A data disk of a domain: the RBD image behind it, and what the guest finds it by."""

    volume: str
    serial: str


@dataclass(frozen=True, slots=True)
class Domain:
    """What decides the XML of one domain."""

    name: str
    id: str
    project: str
    image: str
    memory_mib: int
    vcpus: int
    nics: tuple[Nic, ...]
    root_volume: str
    seed_volume: str
    monitors: Monitors
    request_sha256: str
    memory_max_mib: int = 0
    vcpus_max: int = 0
    disks: tuple[DiskDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnedMetadata:
    """What we wrote into a domain's metadata when it was defined."""

    id: str
    project: str
    image: str
    request_sha256: str


def render(domain: Domain, node: NodeConfig) -> str:
    """The domain XML for virDomainDefineXML."""
    root = ET.Element("domain", type="kvm" if node.accelerator == "kvm" else "qemu")
    _text(root, "name", domain.name)
    _text(root, "uuid", domain.id)
    _metadata(root, domain)
    _text(root, "memory", str(domain.memory_max_mib or domain.memory_mib), unit="MiB")
    _text(root, "currentMemory", str(domain.memory_mib), unit="MiB")
    _text(root, "vcpu", str(domain.vcpus_max or domain.vcpus), placement="static", current=str(domain.vcpus))
    _platform(root, node)
    devices = ET.SubElement(root, "devices")
    _root_disk(devices, domain, node)
    _seed_disk(devices, domain, node)
    for number, data_disk in enumerate(domain.disks, start=1):
        _data_disk(devices, data_disk, _scsi_target(number), domain.monitors, node)
    for nic in domain.nics:
        _interface(devices, nic, node)
    _channels(devices, domain, node)
    return ET.tostring(root, encoding="unicode")


def owned_metadata(xml: str) -> OwnedMetadata | None:
    """What we wrote into this domain's metadata, or None when the domain is not ours."""
    vm = ET.fromstring(xml).find(f"metadata/{_VM_TAG}")
    if vm is None:
        return None
    return OwnedMetadata(
        id=vm.get("id", ""),
        project=vm.get("project", ""),
        image=vm.get("image", ""),
        request_sha256=vm.get("request-sha256", ""),
    )


def mac_addresses(xml: str) -> tuple[str, ...]:
    """The MAC addresses of the domain's interfaces, in their order."""
    return tuple(mac.get("address", "") for mac in ET.fromstring(xml).findall("devices/interface/mac"))


def nics(xml: str) -> tuple[Nic, ...]:
    """What the domain's interfaces are connected to, with their MACs, in their order."""
    found = []
    for interface in ET.fromstring(xml).findall("devices/interface"):
        source, mac, tag = interface.find("source"), interface.find("mac"), interface.find("vlan/tag")
        place = source.attrib if source is not None else {}
        found.append(
            Nic(
                network=place.get("network"),
                # That of a network is written beside its name while the domain runs.
                bridge=None if "network" in place else place.get("bridge"),
                vlan=int(tag.get("id", "0")) if tag is not None else None,
                mac=mac.get("address") if mac is not None else None,
            )
        )
    return tuple(found)


def data_disks(xml: str, name: str) -> tuple[DiskDevice, ...]:
    """The data disks of the domain of this name, in their order."""
    found = []
    for disk in ET.fromstring(xml).findall("devices/disk[@type='network']"):
        source = disk.find("source[@protocol='rbd']")
        volume = source.get("name", "").partition("/")[2] if source is not None else ""
        owner, _dot, part = volume.partition(".")
        if owner == name and part not in RESERVED_DISKS:
            found.append(DiskDevice(volume, disk.findtext("serial", "")))
    return tuple(found)


def hardware(xml: str) -> Hardware:
    """Memory and virtual CPUs in a domain's XML, which libvirt writes in KiB."""
    root = ET.fromstring(xml)
    memory_max = _mib(root, "memory")
    vcpu = root.find("vcpu")
    vcpus_max = int(vcpu.text or "1") if vcpu is not None else 1
    vcpus = int(vcpu.get("current", vcpus_max)) if vcpu is not None else 1
    memory = _mib(root, "currentMemory") if root.find("currentMemory") is not None else memory_max
    return Hardware(memory, memory_max, vcpus, vcpus_max)


def _mib(root: ET.Element, tag: str) -> int:
    element = root.find(tag)
    if element is None:
        return 0
    units = {"KiB": 1024, "MiB": 1, "GiB": 1 / 1024, "bytes": 1024**2, "b": 1024**2}
    return int(int(element.text or "0") / units[element.get("unit", "KiB")])


def volumes(xml: str) -> dict[str, str]:
    """The target device of every RBD image (without its pool) among the domain's disks."""
    found = {}
    for disk in ET.fromstring(xml).findall("devices/disk[@type='network']"):
        source, target = disk.find("source[@protocol='rbd']"), disk.find("target")
        if source is not None and target is not None:
            found[source.get("name", "").partition("/")[2]] = target.get("dev", "")
    return found


def data_disk_xml(xml: str, data_disk: DiskDevice, monitors: Monitors, node: NodeConfig) -> str:
    """A data disk for a domain that is there, at the first target that is free in its XML."""
    taken = {target.get("dev") for target in ET.fromstring(xml).findall("devices/disk/target")}
    target = next(target for target in map(_scsi_target, range(1, 1000)) if target not in taken)
    disk = _data_disk(ET.Element("devices"), data_disk, target, monitors, node)
    return ET.tostring(disk, encoding="unicode")


def seed_drive_xml(volume: str | None, monitors: Monitors, node: NodeConfig) -> str:
    """The drive of the seed, as XML: with this volume in it, or empty."""
    return ET.tostring(_seed_drive(ET.Element("devices"), volume, monitors, node), encoding="unicode")


def disk_element(xml: str, volume: str) -> str:
    """The disk of a domain's XML that has this volume."""
    for disk in ET.fromstring(xml).findall("devices/disk"):
        source = disk.find("source")
        if source is not None and source.get("name", "").partition("/")[2] == volume:
            return ET.tostring(disk, encoding="unicode")
    return ""


def with_hardware(xml: str, wanted: Hardware, request_sha256: str) -> str:
    """The XML of a domain with other memory and virtual CPUs; everything else in it stays."""
    root = ET.fromstring(xml)
    _set_text(root, "memory", str(wanted.memory_max_mib), unit="MiB")
    _set_text(root, "currentMemory", str(wanted.memory_mib), unit="MiB")
    _set_text(root, "vcpu", str(wanted.vcpus_max), current=str(wanted.vcpus))
    for vcpus in root.findall("vcpus"):
        root.remove(vcpus)  # the state of each one, which libvirt makes anew from their number
    vm = root.find(f"metadata/{_VM_TAG}")
    if vm is not None:
        vm.set("request-sha256", request_sha256)
    return ET.tostring(root, encoding="unicode")


def with_monitors(xml: str, monitors: Monitors) -> str:
    """The XML of a domain whose disks in Ceph are found by these monitors; the same text where they are already."""
    root = ET.fromstring(xml)
    wanted = sorted((host, str(port)) for host, port in monitors)
    changed = False
    for source in root.findall("devices/disk/source[@protocol='rbd']"):
        hosts = source.findall("host")
        if sorted((host.get("name"), host.get("port")) for host in hosts) != wanted:
            changed = True
            for host in hosts:
                source.remove(host)
            for place, (name, port) in enumerate(wanted):
                source.insert(place, ET.Element("host", name=name, port=port))
    return ET.tostring(root, encoding="unicode") if changed else xml


def _set_text(root: ET.Element, tag: str, text: str, **attributes: str) -> None:
    element = root.find(tag)
    if element is None:
        element = ET.SubElement(root, tag)
    element.text = text
    for name, value in attributes.items():
        element.set(name, value)


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _metadata(root: ET.Element, domain: Domain) -> None:
    ET.SubElement(
        ET.SubElement(root, "metadata"),
        _VM_TAG,
        {
            "id": domain.id,
            "project": domain.project,
            "image": domain.image,
            "request-sha256": domain.request_sha256,
        },
    )


def _platform(root: ET.Element, node: NodeConfig) -> None:
    os_element = ET.SubElement(root, "os")
    _text(os_element, "type", "hvm", arch="x86_64", machine="q35")
    ET.SubElement(os_element, "boot", dev="hd")
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    ET.SubElement(root, "cpu", mode="host-passthrough" if node.accelerator == "kvm" else "maximum")
    ET.SubElement(root, "clock", offset="utc")
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", "restart")
    _text(root, "on_crash", "destroy")


def _rbd_source(disk: ET.Element, volume: str, monitors: Monitors, node: NodeConfig) -> None:
    source = ET.SubElement(disk, "source", protocol="rbd", name=f"{node.ceph_pool}/{volume}")
    for host, port in monitors:
        ET.SubElement(source, "host", name=host, port=str(port))
    auth = ET.SubElement(source, "auth", username=node.ceph_client)
    ET.SubElement(auth, "secret", type="ceph", uuid=node.ceph_secret_uuid)


def _root_disk(devices: ET.Element, domain: Domain, node: NodeConfig) -> None:
    disk = ET.SubElement(devices, "disk", type="network", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="raw", cache="writeback", discard="unmap")
    _rbd_source(disk, domain.root_volume, domain.monitors, node)
    ET.SubElement(disk, "target", dev="vda", bus="virtio")


def _seed_disk(devices: ET.Element, domain: Domain, node: NodeConfig) -> None:
    # virtio-scsi, because the Debian cloud kernel has no AHCI driver and would not see a SATA CD-ROM.
    ET.SubElement(devices, "controller", type="scsi", model="virtio-scsi")
    _seed_drive(devices, domain.seed_volume, domain.monitors, node)


def _seed_drive(devices: ET.Element, volume: str | None, monitors: Monitors, node: NodeConfig) -> ET.Element:
    drive = ET.SubElement(devices, "disk", type="network" if volume else "file", device="cdrom")
    ET.SubElement(drive, "driver", name="qemu", type="raw")
    if volume:
        _rbd_source(drive, volume, monitors, node)
    ET.SubElement(drive, "target", dev="sda", bus="scsi")
    ET.SubElement(drive, "readonly")
    return drive


def _data_disk(
    devices: ET.Element, data_disk: DiskDevice, target: str, monitors: Monitors, node: NodeConfig
) -> ET.Element:
    # virtio-scsi takes disks while the VM runs; virtio-blk on q35 would need a free PCIe port for each.
    disk = ET.SubElement(devices, "disk", type="network", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="raw", cache="writeback", discard="unmap")
    _rbd_source(disk, data_disk.volume, monitors, node)
    ET.SubElement(disk, "target", dev=target, bus="scsi")
    _text(disk, "serial", data_disk.serial)
    return disk


def _scsi_target(number: int) -> str:
    """sda, sdb, ..., sdz, sdaa, ... for 0, 1, ..."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return f"sd{letters}"


def _interface(devices: ET.Element, nic: Nic, node: NodeConfig) -> None:
    kind, name = nic.link or node.link
    interface = ET.SubElement(devices, "interface", type=kind)
    ET.SubElement(interface, "mac", address=nic.mac or "")
    ET.SubElement(interface, "source", {kind: name})
    if nic.vlan is not None:
        ET.SubElement(ET.SubElement(interface, "vlan"), "tag", id=str(nic.vlan))
    ET.SubElement(interface, "model", type="virtio")


def _channels(devices: ET.Element, domain: Domain, node: NodeConfig) -> None:
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=console_log_path(node.console_log_dir, domain.name), append="on")
    ET.SubElement(serial, "target", port="0")
    agent = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "memballoon", model="virtio")
