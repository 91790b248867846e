# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""A VM cloned from a snapshot of another one, on real Ceph and in real guests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab, Result
from .test_snapshots import POOL, content, on_pool, write

SOURCE, CLONE = "cln-1", "cln-2"
SMALL: dict[str, Any] = {"ram": 256, "disk": 5, "start": False, "disks": [{"name": "data", "size": 2}]}


def play(lab: Lab, playbook: str, *arguments: str, **variables: Any) -> Result:
    return lab.play(f"playbooks/{playbook}.yml", *arguments, **variables)


def done(lab: Lab, playbook: str, *arguments: str, **variables: Any) -> Result:
    """A playbook that has to succeed."""
    result = play(lab, playbook, *arguments, **variables)
    assert result.ok, result.output
    return result


def says(result: Result) -> str:
    """What a playbook failed with, on one line."""
    assert not result.ok, result.output
    return " ".join(result.output.split())


def metadata(lab: Lab, volume: str) -> dict[str, str]:
    return dict(json.loads(lab.on("node-1", "rbd", "image-meta", "list", f"{POOL}/{volume}", "--format", "json")))


def parent(lab: Lab, volume: str) -> str | None:
    info = json.loads(lab.on("node-1", "rbd", "info", f"{POOL}/{volume}", "--format", "json"))
    return f"{info['parent']['image']}@{info['parent']['snapshot']}" if "parent" in info else None


def state(lab: Lab, name: str) -> str:
    return lab.sql(f"SELECT state FROM virtfleet.vm WHERE name = '{name}' AND state <> 'deleted'")


@pytest.fixture(scope="module")
def source(lab: Lab) -> Iterator[str]:
    """A stopped VM with a data disk and a snapshot; its name."""
    try:
        done(lab, "create_vm", name=SOURCE, **SMALL)
        write(lab, f"{SOURCE}.data", "old")
        done(lab, "snapshot_vm", name=SOURCE, snapshot="one")
        write(lab, f"{SOURCE}.data", "new")
        yield SOURCE
    finally:
        done(lab, "delete_vm", name=SOURCE, force=True, purge=True)


@pytest.fixture(autouse=True)
def no_clone_is_left(lab: Lab) -> Iterator[None]:
    yield
    done(lab, "delete_vm", name=CLONE, force=True, purge=True)


def test_a_clone_is_a_vm_of_its_own(lab: Lab, source: str) -> None:
    """Its volumes are marked as its own, whatever the source's say, and hold what the snapshot does."""
    check = done(lab, "clone_vm", "--check", "--diff", name=CLONE, source=source, start=False)
    assert f'"parent": "{source}.root@one"' in check.output or f"parent: {source}.root@one" in check.output
    done(lab, "clone_vm", name=CLONE, source=source, start=False)
    again = done(lab, "clone_vm", name=CLONE, source=source, snapshot="one", start=False)
    assert again.unchanged
    assert parent(lab, f"{CLONE}.root") == f"{source}.root@one" and content(lab, f"{CLONE}.data") == "old"
    vm_id = lab.sql(f"SELECT id FROM virtfleet.vm WHERE name = '{CLONE}' AND state <> 'deleted'")
    for disk, more in {"root": {"virtfleet.record"}, "data": set()}.items():
        ours = {key: value for key, value in metadata(lab, f"{CLONE}.{disk}").items() if key.startswith("virtfleet.")}
        assert set(ours) == {"virtfleet.vm_id", "virtfleet.request_sha256"} | more and ours["virtfleet.vm_id"] == vm_id
    record = "virtfleet.record"
    assert metadata(lab, f"{CLONE}.root")[record] != metadata(lab, f"{source}.root")[record]
    assert lab.sql(f"SELECT count(DISTINCT mac) FROM virtfleet.vm WHERE name IN ('{source}', '{CLONE}')") != "1"
    detail = lab.sql(
        f"SELECT detail->'source'->>'name' FROM virtfleet.event WHERE vm = '{vm_id}' AND action = 'create'"
    )
    assert detail == source


def test_what_cannot_be_cloned_is_refused(lab: Lab, source: str) -> None:
    assert "source nobody is no VM" in says(play(lab, "clone_vm", name=CLONE, source="nobody"))
    assert "never shrunk" in says(play(lab, "clone_vm", name=CLONE, source=source, disk=4))
    assert state(lab, CLONE) == ""
    lab.on("node-1", "rbd", "snap", "create", "--no-progress", f"{POOL}/{source}.root@by-hand")
    try:
        refused = says(play(lab, "clone_vm", name=CLONE, source=source, snapshot="by-hand", start=False))
        assert "was not made by snapshot_vm.yml" in refused
        assert "snapshot is by-hand, not one" in says(play(lab, "clone_vm", name=CLONE, source=source, snapshot="one"))
        assert "clone_vm.yml finishes it" in says(play(lab, "create_vm", name=CLONE))
    finally:
        lab.on("node-1", "rbd", "snap", "rm", "--no-progress", f"{POOL}/{source}.root@by-hand")


def test_a_clone_that_was_cut_off_is_continued(lab: Lab, source: str) -> None:
    """The volume is a clone with the source's marks still, by its passing name, when the run ends."""
    refused = play(lab, "clone_vm", name=CLONE, source=source, snapshot="two", start=False)
    assert f"There is no snapshot {source}@two" in says(refused)
    vm_id = lab.sql(f"SELECT id FROM virtfleet.vm WHERE name = '{CLONE}' AND state <> 'deleted'")
    making = f"{vm_id}.{CLONE}.root.making"
    on_pool(lab, f"rbd.RBD().clone(pool, '{source}.root', 'one', pool, '{making}', clone_format=2)")
    done(lab, "snapshot_vm", name=source, snapshot="two")
    done(lab, "clone_vm", name=CLONE, source=source, snapshot="two", start=False)
    assert parent(lab, f"{CLONE}.root") == f"{source}.root@two" and content(lab, f"{CLONE}.data") == "new"
    assert making not in lab.on("node-1", "rbd", "ls", POOL)


def test_what_clones_hang_on_is_kept_and_named(lab: Lab, tmp_path: Path, source: str) -> None:
    done(lab, "clone_vm", name=CLONE, source=source, snapshot="one", start=False)
    named = f"{source}.root@one has clones: {POOL}/{CLONE}.root"
    assert named in says(play(lab, "remove_snapshot", name=source, snapshot="one"))
    assert named in says(play(lab, "delete_vm", name=source, purge=True))
    assert state(lab, source) == "stopped"
    done(lab, "delete_vm", name=source)
    refused = says(play(lab, "purge_trash", vm=source, expired_only=False))
    assert f"{source}.root has clones: {POOL}/{CLONE}.root" in refused
    # All of the source is still there, with its snapshots.
    done(lab, "undelete_vm", name=source, start=False)
    assert content(lab, f"{source}.data") == "new"
    file = tmp_path / "snapshots.json"
    done(lab, "list_snapshots", name=source, file=str(file))
    assert {found["name"]: found["state"] for found in json.loads(file.read_text())} == {"one": "whole", "two": "whole"}
    images = tmp_path / "images.json"
    done(lab, "list_images", file=str(images))
    depths = {volume["VM"]: volume["Depth"] for image in json.loads(images.read_text()) for volume in image["Volumes"]}
    assert (depths[source], depths[CLONE]) == (1, 2)
    done(lab, "flatten_vm", name=CLONE)
    assert parent(lab, f"{CLONE}.root") is None and parent(lab, f"{CLONE}.data") is None
    done(lab, "remove_snapshot", name=source, snapshot="one")
    assert content(lab, f"{CLONE}.data") == "old"


@pytest.mark.slow
def test_its_guest_has_the_files_and_an_identity_of_its_own(lab: Lab) -> None:
    """Its source runs meanwhile. At the end it is deleted while it is on its way down."""
    identity = "hostname; cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub; cat /root/file; hostname -I"
    lab.guest("test-1", "echo kept | sudo tee /root/file && sync")
    try:
        done(lab, "snapshot_vm", name="test-1", snapshot="to-clone")
        done(lab, "clone_vm", name=CLONE, source="test-1", ram=384, node="node-2", wait=True)
        theirs, its = (lab.guest(name, f"sudo sh -c '{identity}'", 60).splitlines() for name in ("test-1", CLONE))
        assert (theirs[0], its[0]) == ("test-1", CLONE)
        assert all(theirs[line] != its[line] for line in (1, 2, 4)), (theirs, its)
        assert theirs[3] == its[3] == "kept"
        lab.on("node-2", "virsh", "shutdown", CLONE)
        done(lab, "delete_vm", name=CLONE, purge=True)
    finally:
        play(lab, "delete_vm", name=CLONE, purge=True, force=True)
        done(lab, "remove_snapshot", name="test-1", snapshot="to-clone")
