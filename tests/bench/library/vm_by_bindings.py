# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The floor of the benchmarks: VMs made by the bindings in one process, with no check, no record and no way back."""

from __future__ import annotations

import io
from typing import Any

import libvirt
import pycdlib
import rados
import rbd
from ansible.module_utils.basic import AnsibleModule

# Stands for the name of each VM in the texts.
NAME = "@name@"


def seed(files: dict[str, str]) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="CIDATA")
    for number, (name, text) in enumerate(files.items()):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    buffer = io.BytesIO()
    iso.write_fp(buffer)
    return buffer.getvalue()


def make_disks(pool: rados.Ioctx, name: str, params: dict[str, Any]) -> None:
    rbd.RBD().clone(pool, params["image"], "golden", pool, f"{name}.root")
    with rbd.Image(pool, f"{name}.root") as root:
        root.resize(int(params["disk_gib"]) * 1024**3)
    content = seed({file: params[file.replace("-", "_")].replace(NAME, name) for file in ("user-data", "meta-data")})
    rbd.RBD().create(pool, f"{name}.seed", len(content))
    with rbd.Image(pool, f"{name}.seed") as volume:
        volume.write(content, 0)


def main() -> None:
    options = ("pool", "client", "image", "disk_gib", "user_data", "meta_data", "xml")
    module = AnsibleModule(
        argument_spec={option: {"type": "str", "required": True} for option in options}
        | {"names": {"type": "list", "elements": "str", "required": True}, "start": {"type": "bool", "default": True}}
    )
    params = module.params
    connection = libvirt.open("qemu:///system")
    with (
        rados.Rados(conffile="/etc/ceph/ceph.conf", name=f"client.{params['client']}") as cluster,
        cluster.open_ioctx(params["pool"]) as pool,
    ):
        for name in params["names"]:
            make_disks(pool, name, params)
            domain = connection.defineXML(params["xml"].replace(NAME, name))
            if params["start"]:
                domain.create()
    connection.close()
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
