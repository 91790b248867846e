# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Golden images: their formats, their versions, what is wrong with them, and the virtual machines that hang on them."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Lab, Result
from .test_roles import (
    HOST,
    POOL,
    changes_nothing,
    exported,
    is_refused,
    run,
    served,
    succeeds,
)

MIB = 1024 * 1024
SMALL: dict[str, Any] = {"ram": 64, "cpu": 1, "disk": 1}


@dataclass(frozen=True)
class Files:
    """One disk in many formats, in a directory that is served."""

    directory: Path
    url: str
    content: str

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def at_url(self, name: str) -> dict[str, str]:
        digest = hashlib.sha512((self.directory / name).read_bytes()).hexdigest()
        return {"image_url": f"{self.url}/{name}", "image_checksum": f"sha512:{digest}"}


@pytest.fixture(scope="module")
def files(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    directory = tmp_path_factory.mktemp("images")
    # Data, a hole, and an end within a chunk.
    raw = random.Random(1).randbytes(MIB) + bytes(11 * MIB) + random.Random(2).randbytes(MIB // 2)
    (directory / "disk.raw").write_bytes(raw)
    there = "/root/images"
    lab.on("node-1", "mkdir", "-p", there)
    run("podman", "cp", str(directory / "disk.raw"), f"{lab.container('node-1')}:{there}/disk.raw")
    convert = "cd {0} && qemu-img convert -O {1} {2} disk.raw disk.{1}"
    lab.on("node-1", "sh", "-c", convert.format(there, "qcow2", "-c"))
    lab.on("node-1", "sh", "-c", convert.format(there, "vmdk", "-o subformat=streamOptimized"))
    backed = f"cd {there} && qemu-img create -q -f qcow2 -b /etc/hostname -F raw backed.qcow2 1M"
    lab.on("node-1", "sh", "-c", backed)
    run("podman", "cp", f"{lab.container('node-1')}:{there}/.", str(directory))
    lab.on("node-1", "rm", "-r", there)
    qcow2 = (directory / "disk.qcow2").read_bytes()
    packed = {
        "disk.raw.gz": gzip.compress(raw, 1),
        "disk.raw.bz2": bz2.compress(raw),
        "disk.raw.zst": zstandard(raw),
        "disk.qcow2.xz": lzma.compress(qcow2, preset=0),
        "cut.raw.xz": lzma.compress(raw, preset=0)[:-1000],
        "cut.raw.zst": zstandard(raw)[:-1000],
        "cut.qcow2": qcow2[: len(qcow2) // 2],
        "other.raw": raw[::-1],
    }
    for name, data in packed.items():
        (directory / name).write_bytes(data)
    gateway = lab.address(HOST).rsplit(".", 1)[0] + ".1"
    with served(directory, gateway) as url:
        yield Files(directory, url, hashlib.sha256(raw).hexdigest())


def zstandard(data: bytes) -> bytes:
    """A Zstandard frame of blocks that are not packed."""
    pieces = [data[begin : begin + 100_000] for begin in range(0, len(data), 100_000)]
    blocks = [(len(piece) << 3 | (piece is pieces[-1])).to_bytes(3, "little") + piece for piece in pieces]
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(blocks)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(lab: Lab) -> Iterator[None]:
    yield
    for name in ("img-old", "img-new"):
        lab.play("playbooks/delete_vm.yml", name=name, purge=True, force=True)
    for image in [name for name in images(lab) if not name.endswith((".root", ".seed"))]:
        succeeds(lab.play("playbooks/remove_image.yml", image=image))


def import_image(lab: Lab, name: str, **variables: Any) -> Result:
    return lab.play("playbooks/import_image.yml", image_name=name, **variables)


def images(lab: Lab) -> list[str]:
    return [name for name in lab.on("node-1", "rbd", "ls", POOL).split() if name.startswith("img-")]


def registered(lab: Lab) -> str:
    return lab.sql("SELECT name FROM virtfleet.image WHERE name LIKE 'img-%' ORDER BY name")


def cached(lab: Lab) -> str:
    """What is left on the node of the files of these images."""
    return lab.on("node-1", "find", "/var/cache/virtfleet/images", "-name", "img-*")


def listed(lab: Lab, directory: Path, image: str) -> dict[str, dict[str, Any]]:
    """The versions of an image as list_images.yml shows them."""
    file = directory / "images.json"
    succeeds(lab.play("playbooks/list_images.yml", image=image, file=str(file)))
    return {entry["Version"]: entry for entry in json.loads(file.read_text())}


@pytest.mark.parametrize("name", ["disk.raw.bz2", "disk.vmdk", "disk.raw.zst"])
def test_a_file_of_any_format_is_imported(lab: Lab, files: Files, name: str) -> None:
    image = "img-" + name.split(".")[-1]
    succeeds(import_image(lab, image, image_file=files.path(name), image_version="1"))
    assert exported(lab, f"{image}:1") == files.content
    assert cached(lab) == ""


@pytest.mark.parametrize("name", ["disk.raw.gz", "disk.qcow2.xz"])
def test_a_packed_image_comes_from_a_url(lab: Lab, files: Files, name: str) -> None:
    image = "img-url-" + name.split(".")[-1]
    succeeds(import_image(lab, image, image_version="1", **files.at_url(name)))
    assert exported(lab, f"{image}:1") == files.content
    assert cached(lab) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut.raw.xz", "is damaged or truncated"),
        ("cut.raw.zst", "is damaged or truncated"),
        ("cut.qcow2", "it is damaged or truncated"),
        ("backed.qcow2", "it needs another file, /etc/hostname"),
    ],
)
def test_a_bad_file_leaves_nothing(lab: Lab, files: Files, name: str, words: str) -> None:
    before = images(lab)
    is_refused(import_image(lab, "img-bad", image_file=files.path(name)), words)
    assert images(lab) == before and "img-bad" not in registered(lab)
    assert cached(lab) == ""


def test_a_bad_url_leaves_nothing(lab: Lab, files: Files) -> None:
    before = images(lab)
    source = files.at_url("disk.raw.gz")
    is_refused(import_image(lab, "img-bad", **source | {"image_checksum": "sha256:" + "0" * 64}), "did not match")
    is_refused(import_image(lab, "img-bad", **source | {"image_url": f"{files.url}/nothing"}), "is not given: 404")
    is_refused(import_image(lab, "img-bad", **source | {"image_url": "file:///etc/passwd"}), "begins with none of")
    assert images(lab) == before and "img-bad" not in registered(lab)


def test_what_a_killed_run_left_is_removed(lab: Lab, files: Files) -> None:
    lab.on("node-1", "rbd", "create", "--size", "4M", f"{POOL}/img-killed:1.importing")
    assert "img-killed:1" in lab.play("playbooks/list_images.yml").output
    succeeds(import_image(lab, "img-killed", image_file=files.path("disk.raw"), image_version="1"))
    assert [name for name in images(lab) if "img-killed" in name] == ["img-killed:1"]


def test_versions_stand_side_by_side(lab: Lab, files: Files, tmp_path: Path) -> None:
    first: dict[str, Any] = {"image_file": files.path("disk.raw"), "image_version": "1.9"}
    second = {"image_file": files.path("other.raw"), "image_version": "1.10"}
    checked = lab.play("playbooks/import_image.yml", "--check", image_name="img-side", **first)
    assert checked.ok and "img-side" not in registered(lab)
    succeeds(import_image(lab, "img-side", **first))
    succeeds(import_image(lab, "img-side", **second))
    changes_nothing(import_image(lab, "img-side", **first))
    # Without a version it is today's, unless the content is there already.
    changes_nothing(import_image(lab, "img-side", image_file=files.path("disk.raw")))
    is_refused(import_image(lab, "img-side", **first | {"image_file": files.path("other.raw")}), "another version")

    succeeds(lab.play("playbooks/create_vm.yml", name="img-old", image="img-side:1.9", **SMALL))
    succeeds(lab.play("playbooks/create_vm.yml", name="img-new", image="img-side", **SMALL))
    changes_nothing(lab.play("playbooks/create_vm.yml", name="img-old", image="img-side", **SMALL))
    versions = listed(lab, tmp_path, "img-side")
    assert {key: version["State"] for key, version in versions.items()} == {"1.9": "available", "1.10": "newest"}
    on_them = {key: [volume["VM"] for volume in version["Volumes"]] for key, version in versions.items()}
    assert on_them == {"1.9": ["img-old"], "1.10": ["img-new"]}


def test_an_image_with_clones_goes_only_when_they_are_flat(lab: Lab, tmp_path: Path) -> None:
    def remove() -> Result:
        return lab.play("playbooks/remove_image.yml", image="img-side:1.9")

    def flatten(*arguments: str) -> Result:
        return lab.play("playbooks/flatten_vm.yml", *arguments, name="img-old")

    is_refused(remove(), "Volumes hang on image img-side:1.9", "img-old.root")
    assert "img-side:1.9" in registered(lab)
    checked = flatten("--check")
    assert checked.ok and "flatten img-old.root" in checked.output
    succeeds(flatten())
    changes_nothing(flatten())
    there = "SELECT id FROM virtfleet.vm WHERE name = 'img-old' AND state <> 'deleted'"
    flattened = f"SELECT count(*) FROM virtfleet.event WHERE action = 'flatten' AND vm = ({there})"
    assert lab.sql(flattened) == "1"
    assert lab.vms(tmp_path)["img-old"]["State"] == "running"
    succeeds(remove())
    changes_nothing(remove())
    assert "img-side:1.9" not in registered(lab) and "img-side:1.9" not in images(lab)


def test_an_image_in_the_trash_still_carries_its_clones(lab: Lab, tmp_path: Path) -> None:
    succeeds(lab.play("playbooks/remove_image.yml", image="img-side:1.10", trash=True))
    assert "img-side:1.10" not in images(lab)
    assert [volume["VM"] for volume in listed(lab, tmp_path, "img-side")["1.10"]["Volumes"]] == ["img-new"]
    is_refused(
        lab.play("playbooks/create_vm.yml", name="img-none", image="img-side", **SMALL), "image img-side is none"
    )
    succeeds(lab.play("playbooks/delete_vm.yml", name="img-new", purge=True, force=True))
    trash = lab.on("node-1", "rbd", "trash", "ls", POOL).splitlines()
    image_id = next(line.split()[0] for line in trash if line.endswith(" img-side:1.10"))
    lab.on("node-1", "rbd", "trash", "restore", f"{POOL}/{image_id}")


def test_a_full_pool_is_said_and_nothing_is_left(lab: Lab, files: Files) -> None:
    config = json.loads(lab.on("node-1", "cat", "/etc/virtfleet/node.json"))
    config |= {"ceph_pool": "img-full", "ceph_client": "admin"}
    ceph = ["ceph", "osd", "pool"]
    lab.on("node-1", *ceph, "create", "img-full", "8")
    try:
        lab.on("node-1", "rbd", "pool", "init", "img-full")
        lab.on("node-1", "sh", "-c", "cat > /root/full.json", stdin=json.dumps(config))
        lab.on("node-1", "rados", "--pool", "img-full", "put", "filler", "/etc/virtfleet/node.json")
        lab.on("node-1", *ceph, "set-quota", "img-full", "max_bytes", "1")
        lab.wait_until_full()
        run("podman", "cp", files.path("disk.raw"), f"{lab.container('node-1')}:/root/full.raw")
        command = ["ansible", "-i", str(lab.inventory), "node-1", "-m", "virtfleet.cloud.virt_rbd_image", "-a"]
        arguments = "name=img-full src=/root/full.raw node_config=/root/full.json"
        environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            [*command, arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode != 0 and "Pool img-full is full" in done.stdout and "no_capacity" in done.stdout
        assert lab.on("node-1", "rbd", "ls", "img-full") == ""
    finally:
        lab.on("node-1", "rm", "-f", "/root/full.json", "/root/full.raw")
        lab.on("node-1", "ceph", "config", "set", "mon", "mon_allow_pool_delete", "true")
        lab.on("node-1", *ceph, "rm", "img-full", "img-full", "--yes-i-really-really-mean-it")
        lab.on("node-1", "ceph", "config", "rm", "mon", "mon_allow_pool_delete")
