# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed's documents and the domain's XML."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import cloud_config as cloud_config_module
from ansible_collections.virtfleet.cloud.plugins.module_utils import cloud_init, domain_xml
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.nic import Nic
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

ID = "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11"
MAC = "52:54:00:12:34:56"
OTHER_MAC = "52:54:00:00:00:02"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me"
NODE = domain_xml.NodeConfig(
    "tcg", "/etc/ceph/ceph.conf", "libvirt", "libvirt-pool", OTHER_ID := "11111111-0000-4000-8000-000000000000",
    "network", "default", "/var/log/libvirt/qemu",
)  # fmt: skip
DOMAIN = domain_xml.Domain(
    "a", ID, "default", "img", 1024, 2, (Nic(mac=MAC),), "a.root", "a.seed",
    (("10.0.0.1", 6789), ("10.0.0.2", 6789)), "digest",
)  # fmt: skip


def documents(**raw: object) -> dict[str, str]:
    request = {"name": "a", "ssh_authorized_keys": [KEY], "networks": [{"mac": MAC}], **raw}
    return cloud_init.documents(parse_request(request), ID)


def cloud_config(**raw: object) -> dict[str, Any]:
    head, text = documents(**raw)["user-data"].split("\n", 1)
    assert head == "#cloud-config"
    return json.loads(text)


def test_the_guest_has_its_name_the_key_and_no_password() -> None:
    config = cloud_config()
    assert config["hostname"] == "a"
    assert config["ssh_pwauth"] is False
    (user,) = config["users"]
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["lock_passwd"] is True


def test_the_guest_of_a_copy_gets_an_identity_of_its_own() -> None:
    disks = [{"name": "data", "size": 3, "filesystem": "ext4", "mount": "/data"}]
    spec = parse_request({"name": "a", "disks": disks})
    found = {copied: cloud_init.documents(replace(spec, copied=copied), ID) for copied in (False, True)}
    assert "dhcp-identifier" not in found[False]["network-config"] and "machine-id" not in found[False]["user-data"]
    network = json.loads(found[True]["network-config"])["ethernets"]["primary"]
    assert network["dhcp-identifier"] == "mac" and "systemd-machine-id-setup" in found[True]["user-data"]
    # Its disks hold what the other's do: they are mounted and never made anew.
    assert "fs_setup" in found[False]["user-data"] and "fs_setup" not in found[True]["user-data"]
    assert "mounts" in found[True]["user-data"]


def test_user_data_is_merged_as_data() -> None:
    config = cloud_config(user_data={"users": [{"name": "x"}], "growpart": {"mode": "off"}, "packages": ["jq"]})
    assert [user["name"] for user in config["users"]] == ["debian", "x"]
    assert config["growpart"] == {"mode": "off", "devices": ["/"]}
    assert config["packages"] == ["jq"]


def test_text_in_user_data_cannot_leave_its_place() -> None:
    evil = "x\n#cloud-config\nruncmd: [reboot]"
    assert cloud_config(user_data={"timezone": evil})["timezone"] == evil


@pytest.mark.parametrize("text", ["a: [", "- a", "just text", "a: b: c", "\t{"])
def test_broken_user_data_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        cloud_config_module.parse_user_data(text.replace("a", "canary"))
    assert "canary" not in str(caught.value)


def test_the_same_request_gives_the_same_seed() -> None:
    assert cloud_init.seed_digest(documents()) == cloud_init.seed_digest(documents())
    assert cloud_init.seed_digest(documents()) != cloud_init.seed_digest(documents(user_data={"a": 1}))


def test_the_network_is_matched_by_mac() -> None:
    ethernets = json.loads(documents()["network-config"])["ethernets"]
    assert ethernets["primary"] == {"match": {"macaddress": MAC}, "dhcp4": True}


def test_an_interface_has_its_address_its_way_out_and_its_name_servers() -> None:
    static = {
        "mac": MAC, "address": "192.0.2.5/24", "gateway": "192.0.2.1", "dns": ["192.0.2.53"], "search": ["example.org"],
    }  # fmt: skip
    networks = [static, {"mac": OTHER_MAC}, {"mac": "52:54:00:00:00:03", "address": "2001:db8::5/64"}]
    ethernets = json.loads(documents(networks=networks)["network-config"])["ethernets"]
    assert ethernets == {
        "primary": {
            "match": {"macaddress": MAC},
            "dhcp4": False,
            "addresses": ["192.0.2.5/24"],
            "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.1"}],
            "nameservers": {"addresses": ["192.0.2.53"], "search": ["example.org"]},
        },
        "secondary1": {
            "match": {"macaddress": OTHER_MAC}, "dhcp4": True, "dhcp4-overrides": {"route-metric": 200},
        },
        "secondary2": {
            "match": {"macaddress": "52:54:00:00:00:03"}, "dhcp4": False, "addresses": ["2001:db8::5/64"],
        },
    }  # fmt: skip


def test_interfaces_are_where_they_were_asked_for() -> None:
    nics = (Nic(mac=MAC), Nic("lan", mac=OTHER_MAC), Nic(bridge="br0", vlan=20, mac="52:54:00:00:00:03"))
    xml = domain_xml.render(replace(DOMAIN, nics=nics), NODE)
    found = [
        (
            interface.get("type"),
            [source.attrib for source in interface.iter("source")],
            [tag.get("id") for tag in interface.iter("tag")],
        )
        for interface in ET.fromstring(xml).findall("devices/interface")
    ]
    assert found == [
        ("network", [{"network": "default"}], []),
        ("network", [{"network": "lan"}], []),
        ("bridge", [{"bridge": "br0"}], ["20"]),
    ]
    assert domain_xml.mac_addresses(xml) == (MAC, OTHER_MAC, "52:54:00:00:00:03")


def test_the_seed_is_an_iso_that_cloud_init_finds() -> None:
    content = cloud_init.seed_image(documents())
    assert content[32769:32774] == b"CD001"
    assert b"CIDATA" in content and KEY.encode() in content


def test_the_domain_has_what_a_vm_needs() -> None:
    root = ET.fromstring(domain_xml.render(DOMAIN, NODE))
    assert root.get("type") == "qemu"
    assert root.findtext("uuid") == ID
    assert root.find("os/type[@machine='q35']") is not None
    sources = root.findall("devices/disk/source")
    assert [source.get("name") for source in sources] == ["libvirt-pool/a.root", "libvirt-pool/a.seed"]
    for source in sources:
        assert [host.get("name") for host in source.findall("host")] == ["10.0.0.1", "10.0.0.2"]
        assert source.find(f"auth/secret[@uuid='{OTHER_ID}']") is not None
    assert root.find("devices/disk[@device='cdrom']/target[@bus='scsi']") is not None
    assert root.find("devices/disk/driver[@discard='unmap']") is not None
    assert root.find("devices/channel/target[@name='org.qemu.guest_agent.0']") is not None
    assert root.find("devices/serial/log") is not None and root.find("devices/rng") is not None


def test_a_domain_tells_whose_it_is() -> None:
    xml = domain_xml.render(DOMAIN, NODE)
    assert domain_xml.owned_metadata(xml) == domain_xml.OwnedMetadata(ID, "default", "img", "digest")
    assert domain_xml.mac_addresses(xml) == (MAC,)
    assert domain_xml.owned_metadata("<domain/>") is None


def test_names_cannot_break_out_of_the_xml() -> None:
    xml = domain_xml.render(replace(DOMAIN, image="<x>&'\""), NODE)
    owned = domain_xml.owned_metadata(xml)
    assert owned is not None and owned.image == "<x>&'\""


DISK = domain_xml.DiskDevice("a.data", "data")
GROWABLE = replace(DOMAIN, memory_max_mib=4096, vcpus_max=4, disks=(DISK,))


def attributes(root: ET.Element, path: str) -> dict[str, str]:
    element = root.find(path)
    assert element is not None, path
    return element.attrib


def test_what_libvirt_is_given_reads_back() -> None:
    xml = domain_xml.render(GROWABLE, NODE)
    assert domain_xml.hardware(xml) == domain_xml.Hardware(1024, 4096, 2, 4)
    assert domain_xml.hardware(domain_xml.render(DOMAIN, NODE)) == domain_xml.Hardware(1024, 1024, 2, 2)
    assert domain_xml.volumes(xml) == {"a.root": "vda", "a.seed": "sda", "a.data": "sdb"}


def test_other_hardware_leaves_the_rest_of_a_domain_as_it_is() -> None:
    before = ET.fromstring(domain_xml.render(GROWABLE, NODE))
    ET.SubElement(before, "description").text = "what a person wrote"
    each = ET.SubElement(before, "vcpus")
    ET.SubElement(each, "vcpu", id="0", enabled="yes")
    wanted = domain_xml.Hardware(2048, 8192, 3, 8)
    after = ET.fromstring(domain_xml.with_hardware(ET.tostring(before, encoding="unicode"), wanted, "new"))
    assert domain_xml.hardware(ET.tostring(after, encoding="unicode")) == wanted
    assert after.findtext("description") == "what a person wrote"
    assert after.find("vcpus") is None
    owned = domain_xml.owned_metadata(ET.tostring(after, encoding="unicode"))
    assert owned and (owned.id, owned.request_sha256) == (ID, "new")


def test_a_disk_is_attached_where_no_other_is() -> None:
    xml = domain_xml.render(GROWABLE, NODE)
    more = ET.fromstring(domain_xml.data_disk_xml(xml, domain_xml.DiskDevice("a.more", "m-1"), DOMAIN.monitors, NODE))
    assert attributes(more, "target") == {"dev": "sdc", "bus": "scsi"}
    assert more.findtext("serial") == "m-1"
    assert attributes(more, "source")["name"] == "libvirt-pool/a.more"
    assert attributes(ET.fromstring(domain_xml.disk_element(xml, "a.data")), "target")["dev"] == "sdb"
    assert domain_xml.disk_element(xml, "a.none") == ""


def test_file_systems_are_made_and_mounted_by_the_serial_of_their_disk() -> None:
    config = cloud_config(
        disks=[
            {"name": "data", "size": 1, "filesystem": "ext4", "mount": "/srv/data"},
            {"name": "raw", "size": 1},
            {"name": "spare", "size": 1, "filesystem": "xfs", "serial": "s-1"},
        ]
    )
    data, spare = (f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}" for serial in ("data", "s-1"))
    assert [(made["device"], made["filesystem"], made["overwrite"]) for made in config["fs_setup"]] == [
        (data, "ext4", False),
        (spare, "xfs", False),
    ]
    assert config["mounts"] == [[data, "/srv/data", "ext4", "defaults,nofail", "0", "2"]]
    assert "fs_setup" not in cloud_config(disks=[{"name": "raw", "size": 1}])


def test_a_guest_that_can_be_given_cpus_switches_them_on() -> None:
    (rule,) = cloud_config(cpu=1, cpu_max=2)["write_files"]
    assert rule["path"].startswith("/etc/udev/rules.d/") and 'ATTR{online}="1"' in rule["content"]
    assert "write_files" not in cloud_config(cpu=2)


def test_the_guests_user_has_the_name_that_was_asked_for() -> None:
    (user,) = cloud_config(guest_user="admin")["users"]
    assert (user["name"], user["ssh_authorized_keys"]) == ("admin", [KEY])
    for wrong in ("root", "Admin", "a b", "", 1):
        with pytest.raises(Invalid, match="guest_user"):
            documents(guest_user=wrong)
