# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Takes away every domain of a node, and if asked every volume of the pool, whose name begins with a prefix."""

from __future__ import annotations

import libvirt
import rados
import rbd
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    options = ("pool", "client", "prefix")
    module = AnsibleModule(
        argument_spec={option: {"type": "str", "required": True} for option in options}
        | {"volumes": {"type": "bool", "required": True}}
    )
    params = module.params
    connection = libvirt.open("qemu:///system")
    for domain in connection.listAllDomains():
        if domain.name().startswith(params["prefix"]):
            domain.undefine()
    connection.close()
    with (
        rados.Rados(conffile="/etc/ceph/ceph.conf", name=f"client.{params['client']}") as cluster,
        cluster.open_ioctx(params["pool"]) as pool,
    ):
        for name in rbd.RBD().list(pool) if params["volumes"] else []:
            if name.startswith(params["prefix"]):
                rbd.RBD().remove(pool, name)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
