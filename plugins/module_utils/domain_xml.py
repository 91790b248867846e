# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM as libvirt domain XML, and what of a domain's XML is ours.

Pure. Format: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import xml.etree.ElementTree as ET  # nosec: only XML that libvirt itself wrote is parsed
from dataclasses import dataclass

NAMESPACE = "https://virtfleet.cloud/xmlns/vm/1"
_VM_TAG = f"{{{NAMESPACE}}}vm"

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


@dataclass(frozen=True, slots=True)
class Domain:
    """What decides the XML of one domain."""

    name: str
    id: str
    project: str
    image: str
    memory_mib: int
    vcpus: int
    mac: str
    root_volume: str
    seed_volume: str
    monitors: tuple[tuple[str, int], ...]
    request_sha256: str


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
    _text(root, "memory", str(domain.memory_mib), unit="MiB")
    _text(root, "vcpu", str(domain.vcpus), placement="static")
    _platform(root, node)
    devices = ET.SubElement(root, "devices")
    _root_disk(devices, domain, node)
    _seed_disk(devices, domain, node)
    _network(devices, domain, node)
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


def _rbd_source(disk: ET.Element, volume: str, domain: Domain, node: NodeConfig) -> None:
    source = ET.SubElement(disk, "source", protocol="rbd", name=f"{node.ceph_pool}/{volume}")
    for host, port in domain.monitors:
        ET.SubElement(source, "host", name=host, port=str(port))
    auth = ET.SubElement(source, "auth", username=node.ceph_client)
    ET.SubElement(auth, "secret", type="ceph", uuid=node.ceph_secret_uuid)


def _root_disk(devices: ET.Element, domain: Domain, node: NodeConfig) -> None:
    disk = ET.SubElement(devices, "disk", type="network", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="raw", cache="writeback", discard="unmap")
    _rbd_source(disk, domain.root_volume, domain, node)
    ET.SubElement(disk, "target", dev="vda", bus="virtio")


def _seed_disk(devices: ET.Element, domain: Domain, node: NodeConfig) -> None:
    # virtio-scsi, because the Debian cloud kernel has no AHCI driver and would not see a SATA CD-ROM.
    ET.SubElement(devices, "controller", type="scsi", model="virtio-scsi")
    disk = ET.SubElement(devices, "disk", type="network", device="cdrom")
    ET.SubElement(disk, "driver", name="qemu", type="raw")
    _rbd_source(disk, domain.seed_volume, domain, node)
    ET.SubElement(disk, "target", dev="sda", bus="scsi")
    ET.SubElement(disk, "readonly")


def _network(devices: ET.Element, domain: Domain, node: NodeConfig) -> None:
    interface = ET.SubElement(devices, "interface", type=node.network_type)
    ET.SubElement(interface, "mac", address=domain.mac)
    ET.SubElement(interface, "source", {node.network_type: node.network_name})
    ET.SubElement(interface, "model", type="virtio")


def _channels(devices: ET.Element, domain: Domain, node: NodeConfig) -> None:
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=f"{node.console_log_dir}/{domain.name}-console.log", append="on")
    ET.SubElement(serial, "target", port="0")
    agent = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "memballoon", model="virtio")
