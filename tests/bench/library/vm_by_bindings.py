# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The floor of the benchmark: a VM made by the bindings in one process, with no check, no record and no way back."""

from __future__ import annotations

import io

import libvirt
import pycdlib
import rados
import rbd
from ansible.module_utils.basic import AnsibleModule


def seed(files: dict[str, str]) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="CIDATA")
    for number, (name, text) in enumerate(files.items()):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    buffer = io.BytesIO()
    iso.write_fp(buffer)
    return buffer.getvalue()


def make_disks(params: dict[str, str]) -> None:
    name = params["name"]
    with (
        rados.Rados(conffile="/etc/ceph/ceph.conf", name=f"client.{params['client']}") as cluster,
        cluster.open_ioctx(params["pool"]) as pool,
    ):
        rbd.RBD().clone(pool, params["image"], "golden", pool, f"{name}.root")
        with rbd.Image(pool, f"{name}.root") as root:
            root.resize(int(params["disk_gib"]) * 1024**3)
        content = seed({"user-data": params["user_data"], "meta-data": params["meta_data"]})
        rbd.RBD().create(pool, f"{name}.seed", len(content))
        with rbd.Image(pool, f"{name}.seed") as volume:
            volume.write(content, 0)


def main() -> None:
    options = ("name", "pool", "client", "image", "disk_gib", "user_data", "meta_data", "xml")
    module = AnsibleModule(argument_spec={option: {"type": "str", "required": True} for option in options})
    make_disks(module.params)
    connection = libvirt.open("qemu:///system")
    connection.defineXML(module.params["xml"]).create()
    connection.close()
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
