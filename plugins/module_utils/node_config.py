# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what role libvirt wrote about this node."""

from __future__ import annotations

import json
from typing import Any

from .domain_xml import NodeConfig
from .errors import Backend, NotFound

NODE_CONFIG = "/etc/virtfleet/node.json"

# What modules need that act on Ceph and libvirt of a node; fragments virtfleet.cloud.node and node.libvirt document it.
NODE_OPTIONS: dict[str, Any] = {
    "libvirt_uri": {"type": "str", "default": "qemu:///system"},
    "node_config": {"type": "path", "default": NODE_CONFIG},
}


def read_node_config(path: str) -> NodeConfig:
    """How domains are built on this node.

    Raises:
        NotFound: the role has not run here.
    """
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        return NodeConfig(
            accelerator=data["accelerator"],
            ceph_conf=data["ceph_conf"],
            ceph_client=data["ceph_client"],
            ceph_pool=data["ceph_pool"],
            ceph_secret_uuid=data["ceph_secret_uuid"],
            network_type=data["network"]["type"],
            network_name=data["network"]["name"],
            console_log_dir=data["console_log_dir"],
        )
    except FileNotFoundError:
        raise NotFound(f"{path} is not there", "Is this a node? Role libvirt writes it (site.yml).") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Backend(f"{path} cannot be read: {error!r}", "Run role libvirt again (site.yml).") from None
