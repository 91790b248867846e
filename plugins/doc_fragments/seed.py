# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that write the seed of a VM."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(virtfleet.cloud.seed): what the guest is told at its first boot."""

    DOCUMENTATION = r"""
options:
  disks:
    description:
      - All data disks of the VM, each on a volume of its own, on virtio-scsi. M(virtfleet.cloud.virt_rbd_vm) makes and
        attaches missing ones, while the VM runs too.
      - A data disk of this VM that is not among them is detached by it. Without this option they are left alone.
    type: list
    elements: dict
    suboptions:
      name:
        description: RFC 1123 label; the volume is called C(<vm>.<name>).
        type: str
        required: true
      size_gib:
        description: Size in GiB. It grows while the VM runs, and is never shrunk.
        type: int
        required: true
      filesystem:
        description: Made in the guest by cloud-init at its first boot, where the disk is empty.
        type: str
        choices: [ext4, xfs, btrfs]
      mount:
        description: Where the guest mounts it, from its first boot on.
        type: str
      serial:
        description: What the guest finds it by in C(/dev/disk/by-id), at most 20 characters. Default is the name.
        type: str
  copied:
    description:
      - The volumes that are there are copies of another VM's, as M(virtfleet.cloud.virt_rbd_restore) makes them.
      - The seed then has the guest take a machine id of its own, and ask for its address by its MAC.
    type: bool
    default: false
  networks:
    description:
      - Network interfaces of the VM. Its address in the list is that of the first.
      - The guest sets them up at its first boot, by the MAC address of each. One without O(networks[].address) asks by
        DHCP.
    type: list
    elements: dict
    suboptions:
      mac:
        description: MAC address, which the registry reserved.
        type: str
        required: true
      network:
        description:
          - libvirt network of the node that it is connected to. Without it and without O(networks[].bridge) it is what
            role libvirt set up.
        type: str
      bridge:
        description: Bridge of the node that it is connected to.
        type: str
      vlan:
        description: Tag of the VLAN that the bridge puts it into, 1 to 4094. Needs libvirt 11.0 on the node.
        type: int
      address:
        description: Static address with its prefix length, like V(192.0.2.5/24).
        type: str
      gateway:
        description: Default gateway, with a static address; only one interface can have one.
        type: str
      dns:
        description: Addresses of name servers.
        type: list
        elements: str
      search:
        description: Domains that the guest completes names with.
        type: list
        elements: str
      subnet:
        description: The registry's subnet that this comes from; only noted.
        type: str
  guest_user:
    description: Name of the guest's user, who may log in with the keys and use sudo.
    type: str
    default: debian
  ssh_authorized_keys:
    description: OpenSSH public keys that may log in as the guest's user.
    type: list
    elements: str
    default: []
  user_data:
    description:
      - A cloud-config, merged over the defaults, as YAML or JSON text. Never shown.
      - Give it as text (C(| to_json)), not as a mapping. Ansible blots out every single value of a secret mapping
        wherever it occurs in the result, even a V(1).
    type: json
"""
