# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed of a VM: user-data, meta-data and network-config, and the ISO 9660 bytes that hold them.

Pure: the same input gives the same documents. Format: https://docs.cloud-init.io, datasource NoCloud.
Documents are written as JSON, which every YAML parser reads, so that no value can break out of its place.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from .cloud_config import merge
from .errors import Backend
from .nic import Nic
from .spec import DataDisk, VmSpec, digest

try:
    import pycdlib
except ImportError:
    HAS_PYCDLIB = False
else:
    HAS_PYCDLIB = True

VOLUME_LABEL = "CIDATA"
_DHCP_METRIC = 100  # what systemd-networkd gives without being told


def documents(spec: VmSpec, instance_id: str) -> dict[str, str]:
    """The three files of the seed, by name. Every interface of the VM has its MAC by now."""
    return {
        "meta-data": _json({"instance-id": instance_id, "local-hostname": spec.name}),
        "user-data": "#cloud-config\n" + _json(_user_data(spec)),
        "network-config": _json(_network_config(spec)),
    }


def wiped(files: Mapping[str, str]) -> dict[str, str]:
    """A seed without what the user asked for.

    It still tells the guest who it is: one that found no seed, or one of another instance, would set itself up anew.
    """
    return {**files, "user-data": "#cloud-config\n" + _json({})}


def seed_digest(files: Mapping[str, str]) -> str:
    """What the seed volume is marked with, to see whether it holds these files."""
    return digest(dict(files))


def seed_image(files: Mapping[str, str]) -> bytes:
    """An ISO 9660 image (Joliet and Rock Ridge) with the label that NoCloud looks for."""
    if not HAS_PYCDLIB:
        raise Backend("Making the seed needs pycdlib", "Install python3-pycdlib on the node (role libvirt does).")
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=VOLUME_LABEL)
    for number, (name, text) in enumerate(sorted(files.items())):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    buffer = io.BytesIO()
    iso.write_fp(buffer)
    iso.close()
    return buffer.getvalue()


def _user_data(spec: VmSpec) -> dict[str, Any]:
    """Our defaults, with the user's cloud-config on top."""
    ours: dict[str, Any] = {
        "hostname": spec.name,
        "users": [
            {
                "name": spec.guest_user,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "shell": "/bin/bash",
                "lock_passwd": True,
                "ssh_authorized_keys": list(spec.ssh_authorized_keys),
            }
        ],
        "ssh_pwauth": False,
        "disable_root": True,
        "growpart": {"mode": "auto", "devices": ["/"]},
        "resize_rootfs": True,
        **_data_disks(spec),
        **_hotplug(spec),
        **_own_identity(spec),
    }
    return merge(ours, spec.user_data or {})


def _network_config(spec: VmSpec) -> dict[str, Any]:
    """Version 2 of cloud-init's network-config; a guest may name its interfaces as it likes, so they go by MAC."""
    nics = spec.nics
    names = ["primary", *(f"secondary{number}" for number in range(1, len(nics)))]
    return {
        "version": 2,
        "ethernets": {
            name: _ethernet(nic, order) | (_dhcp(spec) if nic.address is None else {})
            for order, (name, nic) in enumerate(zip(names, nics, strict=True))
        },
    }


def _ethernet(nic: Nic, order: int) -> dict[str, Any]:
    setting: dict[str, Any] = {"match": {"macaddress": nic.mac}}
    if nic.address is None:
        setting["dhcp4"] = True
        if order:
            # The way out is that of the first interface, if several have one.
            setting["dhcp4-overrides"] = {"route-metric": _DHCP_METRIC + 100 * order}
    else:
        setting |= {"dhcp4": False, "addresses": [nic.address]}
    if nic.gateway is not None:
        # Not "default": cloud-init hands that on to netplan only.
        setting["routes"] = [{"to": "::/0" if ":" in nic.gateway else "0.0.0.0/0", "via": nic.gateway}]
    servers = {"addresses": list(nic.dns), "search": list(nic.search)}
    if any(servers.values()):
        setting["nameservers"] = {key: values for key, values in servers.items() if values}
    return setting


def _data_disks(spec: VmSpec) -> dict[str, Any]:
    """Make and mount the file systems that were asked for; one that is there already is kept.

    Disks that are copies hold what was made on them, so that none is made anew.
    """
    formatted = [disk for disk in spec.disks if disk.filesystem]
    if not formatted:
        return {}
    new = [] if spec.copied else formatted
    setup = [
        {"device": _device(disk), "filesystem": disk.filesystem, "partition": "none", "overwrite": False}
        for disk in new
    ]
    return {
        **({"fs_setup": setup} if setup else {}),
        "mounts": [
            [_device(disk), disk.mount, disk.filesystem, "defaults,nofail", "0", "2"]
            for disk in formatted
            if disk.mount
        ],
    }


def _hotplug(spec: VmSpec) -> dict[str, Any]:
    """Let a guest that can be given more virtual CPUs use them at once: Linux leaves it to udev to switch them on."""
    if spec.vcpus_max <= spec.vcpus:
        return {}
    rule = 'SUBSYSTEM=="cpu", ACTION=="add", TEST=="online", ATTR{online}=="0", ATTR{online}="1"\n'
    return {"write_files": [{"path": "/etc/udev/rules.d/80-virtfleet-cpu.rules", "content": rule}]}


def _dhcp(spec: VmSpec) -> dict[str, str]:
    """The guest of a copy asks for its address by its MAC: by its machine id, which is that of the other VM until it
    has its own, it would be given the address of that one."""
    return {"dhcp-identifier": "mac"} if spec.copied else {}


def _own_identity(spec: VmSpec) -> dict[str, Any]:
    """Give the guest of a copy a machine id of its own; the host keys and the name are new with the instance id."""
    if not spec.copied:
        return {}
    renew = (
        "command -v systemd-machine-id-setup >/dev/null || exit 0;"
        " rm -f /var/lib/dbus/machine-id; : >/etc/machine-id; systemd-machine-id-setup"
    )
    return {"bootcmd": [["cloud-init-per", "instance", "virtfleet-machine-id", "sh", "-c", renew]]}


def _device(disk: DataDisk) -> str:
    """How udev calls a disk of QEMU's on virtio-scsi."""
    return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{disk.serial}"


# Characters that YAML does not take, or takes for line breaks. All others stay as they are: JSON escapes those beyond
# U+FFFF as a pair of surrogates, which YAML reads as two characters.
_NOT_AS_IT_IS = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def _json(value: Any) -> str:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return _NOT_AS_IT_IS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
