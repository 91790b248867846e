# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that run on a node."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments C(virtfleet.cloud.node), for Ceph, and C(virtfleet.cloud.node.libvirt)."""

    DOCUMENTATION = r"""
options:
  node_config:
    description: File that says which Ceph a node uses and how domains are built there. Role libvirt writes it.
    type: path
    default: /etc/virtfleet/node.json
"""

    LIBVIRT = r"""
options:
  libvirt_uri:
    description: Connection URI of libvirt.
    type: str
    default: qemu:///system
"""
