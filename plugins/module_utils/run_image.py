# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module virt_rbd_image does."""

from __future__ import annotations

import math
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .ceph import Ceph
from .ceph_image import ImageStore
from .errors import Invalid, VirtfleetError
from .node_config import read_node_config
from .plan_types import GIB, ImageFacts
from .run import fail


def run_image_module(module: AnsibleModule) -> None:
    """Import or remove one image, and end the module."""
    name, wanted = module.params["name"], module.params["state"] == "present"
    try:
        node = read_node_config(module.params["node_config"])
        with Ceph(node.ceph_conf, node.ceph_client, node.ceph_pool) as ceph:
            before = ceph.image(name)
            changed = (before is not None) != wanted
            if changed and not module.check_mode:
                _change(ImageStore(ceph), module, wanted)
            after = before if module.check_mode else ceph.image(name)
    except VirtfleetError as error:
        fail(module, error)
    module.exit_json(
        changed=changed,
        image=_view(name, after),
        actions=[f"{'import' if wanted else 'remove'} {name}"] if changed else [],
        diff={"before": {"image": _presence(before is not None)}, "after": {"image": _presence(wanted)}},
    )


def _change(store: ImageStore, module: AnsibleModule, wanted: bool) -> None:
    name = module.params["name"]
    if not wanted:
        store.remove(name)
    elif module.params["src"] is None:
        raise Invalid([f"image {name} is not there and src is not given"])
    else:
        store.import_file(name, module.params["src"])


def _view(name: str, image: ImageFacts | None) -> dict[str, Any] | None:
    if image is None:
        return None
    return {"name": name, "size_gib": math.ceil(image.size_bytes / GIB), "snapshot": image.snapshot}


def _presence(there: bool) -> str:
    return "present" if there else "absent"
