# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The modules of images through main(): check, run, rerun, check; and what leaves nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.virtfleet.cloud.plugins.module_utils import run, run_image
from ansible_collections.virtfleet.cloud.plugins.module_utils.image_plan import Descendant
from ansible_collections.virtfleet.cloud.plugins.module_utils.run_image import foreign_files
from ansible_collections.virtfleet.cloud.plugins.modules import virt_rbd_image, virt_rbd_image_info
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph, World
from ansible_collections.virtfleet.cloud.tests.unit.image_doubles import FakeImageStore, Pool

Runner = Callable[..., dict[str, Any]]

DISK = b"disk" * 1024
CLONE = Descendant("test-1.root", "6a3e1d3c-6c0e-4b58-9c39-0a5d5b1e7a11", 1, False)


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def image_module(run_module: Runner, node_config: str, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(run, "Ceph", lambda *_unused: FakeCeph(World()))
    monkeypatch.setattr(run_image, "ImageStore", lambda _ceph: FakeImageStore(pool))
    return lambda check=False, **arguments: run_module(virt_rbd_image.main, check, node_config=node_config, **arguments)


@pytest.fixture
def disk(tmp_path: Path) -> str:
    (tmp_path / "disk.raw").write_bytes(DISK)
    return str(tmp_path / "disk.raw")


def checked_and_run(module: Runner, pool: Pool, **arguments: Any) -> dict[str, Any]:
    """The result of a run, after check, and before a second run and check that change nothing."""
    pool.mutations.clear()
    check = module(check=True, **arguments)
    assert pool.mutations == []
    run = module(**arguments)
    assert check["changed"] and run["changed"] and pool.mutations
    assert [check[key] for key in ("actions", "diff")] == [run[key] for key in ("actions", "diff")]
    pool.mutations.clear()
    for again in (module(**arguments), module(check=True, **arguments)):
        assert not again["changed"] and again["actions"] == []
        assert again["diff"]["before"] == again["diff"]["after"] == run["diff"]["after"]
    assert pool.mutations == []
    return run


def test_import_and_remove(image_module: Runner, pool: Pool, disk: str) -> None:
    run = checked_and_run(image_module, pool, name="img:1", src=disk)
    assert run["image"] == {"name": "img:1", "image": "img", "version": "1", "size_gib": 1, "snapshot": "golden"}
    assert pool.contents["img:1"] == DISK and pool.images["img:1"].checksums["sha256"] == sha256(DISK)[7:]
    run = checked_and_run(image_module, pool, name="img:1", state="absent")
    assert run["image"] is None and pool.images == {}


def test_what_is_packed_is_unpacked(image_module: Runner, pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "disk.raw.gz"
    path.write_bytes(gzip.compress(DISK))
    checked_and_run(image_module, pool, name="img", src=str(path), checksum=sha256(path.read_bytes()))
    assert pool.contents["img"] == DISK


def test_other_formats_are_left_to_qemu_img(
    image_module: Runner, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run_command(_module: AnsibleModule, command: list[str]) -> tuple[int, str, str]:
        commands.append(command)
        assert Path(command[-1]).is_file() or command[1] == "convert"
        return 0, json.dumps({"virtual-size": 512}), ""

    monkeypatch.setattr(AnsibleModule, "run_command", run_command)
    path = tmp_path / "disk.qcow2.gz"
    path.write_bytes(gzip.compress(b"QFI\xfb" + DISK))
    image_module(name="img:1", src=str(path), cache_dir=str(tmp_path / "cache"))
    assert [command[1] for command in commands] == ["info", "check", "convert"]
    assert all("qcow2" in command for command in commands)
    assert commands[-1][-1].startswith(r"rbd:libvirt-pool/img\:1.importing:id=libvirt:conf=/etc/ceph/ceph.conf:")
    assert len(pool.contents["img:1"]) == 512
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"backing-filename": "/etc/shadow"}, "it needs another file, /etc/shadow"),
        ({"format-specific": {"data": {"data-file": "/etc/shadow"}}}, "it needs another file, /etc/shadow"),
        ({"format-specific": {"data": {"extents": [{"filename": "b"}]}}}, "it needs another file, b"),
        ({"encrypted": True}, "it is encrypted"),
    ],
)
def test_what_would_have_other_files_read_is_found(info: dict[str, Any], problem: str) -> None:
    assert foreign_files(info, "a") == [problem]
    assert foreign_files({"format-specific": {"data": {"extents": [{"filename": "a"}]}}}, "a") == []


def test_a_wrong_checksum_leaves_nothing(image_module: Runner, pool: Pool, disk: str) -> None:
    result = image_module(name="img", src=disk, checksum="sha256:" + "0" * 64)
    assert result["error"]["code"] == "conflict" and "did not match" in result["msg"]
    assert pool.images == {} and pool.partial == set()


def test_a_version_never_changes(image_module: Runner, pool: Pool, disk: str, tmp_path: Path) -> None:
    image_module(name="img:1", src=disk)
    result = image_module(name="img:1", src=disk, checksum=sha256(b"other"))
    assert result["error"]["code"] == "conflict" and "another version" in result["msg"]
    image_module(name="img", src=disk)
    assert not image_module(name="img", src=disk, checksum=sha256(b"other"))["changed"]


def test_the_same_content_is_imported_again_only_where_it_was_asked_for(
    image_module: Runner, pool: Pool, disk: str
) -> None:
    image_module(name="img:1", src=disk)
    again = image_module(name="img:2", src=disk, checksum=sha256(DISK), reuse=True)
    assert not again["changed"] and again["image"]["name"] == "img:1"
    assert image_module(name="img:2", src=disk, checksum=sha256(DISK))["changed"]


def test_an_image_with_clones_goes_to_the_trash_only(image_module: Runner, pool: Pool, disk: str) -> None:
    image_module(name="img:1", src=disk)
    pool.descendants["img:1"] = (CLONE,)
    for check in (True, False):
        result = image_module(check=check, name="img:1", state="absent")
        assert result["error"]["code"] == "conflict" and result["error"]["problems"] == ["test-1.root"]
    checked_and_run(image_module, pool, name="img:1", state="absent", trash=True)
    assert pool.trash == ["img:1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "Img"}, "is not NAME or NAME:VERSION"),
        ({"name": "../img"}, "is not NAME or NAME:VERSION"),
        ({"name": "img"}, "neither src nor url"),
        ({"name": "img", "src": "/nowhere/disk"}, "cannot be read"),
        ({"name": "img", "checksum": "md5"}, "is not like sha256:"),
    ],
)
def test_what_cannot_be_is_refused(image_module: Runner, pool: Pool, arguments: dict[str, str], words: str) -> None:
    result = image_module(**arguments)
    assert result["failed"] and words in result["msg"] and pool.mutations == []


def test_info_shows_what_hangs_on_an_image(
    image_module: Runner, run_module: Runner, node_config: str, pool: Pool, disk: str
) -> None:
    image_module(name="img:1", src=disk)
    image_module(name="other", src=disk)
    pool.descendants["img:1"] = (CLONE,)
    result = run_module(virt_rbd_image_info.main, node_config=node_config, name="img")
    assert [image["name"] for image in result["images"]] == ["img:1"]
    assert result["images"][0]["volumes"] == [
        {"volume": "test-1.root", "vm_id": CLONE.vm_id, "depth": 1, "in_trash": False}
    ]
