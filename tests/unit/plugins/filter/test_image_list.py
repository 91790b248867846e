# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The list of images for programs and for people."""

from __future__ import annotations

from typing import Any

from ansible_collections.virtfleet.cloud.plugins.filter.image_list import image_list, image_table


def image(name: str, *volumes: dict[str, Any]) -> dict[str, Any]:
    word, _colon, version = name.partition(":")
    return {
        "name": name, "image": word, "version": version or None, "size_gib": 2, "created_at": "2026-11-24T00:00:00Z",
        "volumes": list(volumes),
    }  # fmt: skip


def volume(name: str, vm_id: str | None, depth: int = 1, in_trash: bool = False) -> dict[str, Any]:
    return {"volume": name, "vm_id": vm_id, "depth": depth, "in_trash": in_trash}


ON_FIRST = (
    volume("old.root", "id-1"),
    volume("copy.root", "id-2", depth=2),
    volume("gone.root", "id-3", in_trash=True),
)
CEPH = {
    "images": [image("app:1", *ON_FIRST), image("app:2"), image("new")],
    "trashed": [image("app:0", volume("first.root", "id-4"))],
}
REGISTERED = ["app:1", "app:2", "lost"]
VMS = [{"id": "id-1", "name": "old"}, {"id": "id-2", "name": "copy"}, {"id": "id-4", "name": "first"}]
LIST = image_list(CEPH, REGISTERED, VMS)


def test_the_state_of_an_image() -> None:
    states = {entry["Image"]: entry["State"] for entry in LIST}
    assert states == {
        "app:1": "available", "app:2": "newest", "new": "unregistered", "lost": "missing", "app:0": "trash",
    }  # fmt: skip


def test_the_vms_on_an_image_are_named_and_counted() -> None:
    entry = LIST[0]
    assert entry["VMs"] == 2
    assert entry["Volumes"][1] == {"VM": "copy", "Volume": "copy.root", "Depth": 2, "InTrash": False}
    assert LIST[-1]["Volumes"][0]["VM"] == "first"


def test_the_table_says_how_deep_and_what_is_in_the_trash() -> None:
    lines = image_table(LIST).splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "SIZE", "CREATEDAT", "STATE", "VMS", "ON", "IT"]
    assert lines[1].endswith("old, copy (depth 2), gone.root (in the trash)")
    assert lines[4].split() == ["lost", "-", "-", "-", "missing", "0"]
