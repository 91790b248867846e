# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody did by hand past the registry is reported, and mended when that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Lab

NODE = "node-1"
NAME, FOREIGN, ORPHAN = "rec-vm", "rec-foreign", "rec-orphan.root"
OTHER_ID = "6a3e1d3c-6c0e-4b58-9c39-00000000dead"
RBD = ["rbd", "--id", "libvirt", "--pool", "libvirt-pool"]
DOMAIN = f"<domain type='qemu'><name>{FOREIGN}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"


def make_orphan(lab: Lab) -> None:
    lab.on(NODE, *RBD, "create", "--size", "8M", ORPHAN)
    lab.on(NODE, *RBD, "image-meta", "set", ORPHAN, "virtfleet.vm_id", OTHER_ID)


@pytest.fixture(scope="module")
def edited(lab: Lab) -> Iterator[None]:
    """A VM that was started by virsh, a domain that nobody asked for, and a volume of a VM that is nowhere."""
    made = lab.play("playbooks/create_vm.yml", name=NAME, node=NODE, ram=64, disk=5, start=False)
    assert made.ok, made.output
    lab.on(NODE, "virsh", "start", NAME)
    lab.on(NODE, "sh", "-c", "cat > /tmp/foreign.xml && virsh define /tmp/foreign.xml", stdin=DOMAIN)
    make_orphan(lab)
    try:
        yield
    finally:
        lab.play("playbooks/delete_vm.yml", name=NAME, purge=True, force=True)
        lab.on(NODE, "virsh", "undefine", FOREIGN)
        lab.on(NODE, "sh", "-c", f"{' '.join(RBD)} rm {ORPHAN} || true")
        lab.play("playbooks/purge_trash.yml", vm="rec-orphan", expired_only=False)


def test_what_was_done_by_hand_is_reported_and_mended(lab: Lab, edited: None) -> None:
    report = lab.play("playbooks/reconcile.yml", grace_hours=0)
    assert report.ok and report.unchanged and "is left out" not in report.output, report.output
    print(report.output)
    found = " ".join(report.output.split())
    for words in (
        f"{NAME} wrong_state is running, not stopped record state running",
        f"{FOREIGN} unknown_domain on {NODE} was not made by virtfleet.cloud -",
        f"{ORPHAN} orphaned_volume belongs to VM {OTHER_ID}, which is nowhere move to the trash",
    ):
        assert words in found, report.output
    assert lab.sql(f"SELECT state FROM virtfleet.vm WHERE name = '{NAME}' AND state <> 'deleted'") == "stopped"
    mended = lab.play("playbooks/reconcile.yml", grace_hours=0, apply=True)
    assert mended.ok and not mended.unchanged, mended.output
    assert lab.sql(f"SELECT state FROM virtfleet.vm WHERE name = '{NAME}' AND state <> 'deleted'") == "running"
    names = lab.on(NODE, *RBD, "ls").split()
    assert ORPHAN not in names and f"{NAME}.root" in names and "test-1.root" in names
    assert ORPHAN in lab.on(NODE, *RBD, "trash", "ls")
    again = lab.play("playbooks/reconcile.yml", grace_hours=0, apply=True)
    assert again.ok and again.unchanged and FOREIGN in again.output, again.output


def test_a_vm_that_lost_its_domain_gets_one_again(lab: Lab, edited: None, tmp_path: Path) -> None:
    lab.on(NODE, "virsh", "destroy", NAME)
    lab.on(NODE, "virsh", "undefine", NAME)
    metrics = tmp_path / "reconcile.prom"
    report = lab.play("playbooks/reconcile.yml", metrics_file=str(metrics))
    assert f"{NAME} missing_domain is on no node, {NODE} should have it define it there again" in " ".join(
        report.output.split()
    ), report.output
    assert 'virtfleet_reconcile_findings{kind="missing_domain"} 1' in metrics.read_text().splitlines()
    mended = lab.play("playbooks/reconcile.yml", apply=True)
    assert mended.ok and not mended.unchanged, mended.output
    # As it is recorded since the test before.
    assert lab.on(NODE, "virsh", "domstate", NAME).strip() == "running"
    again = lab.play("playbooks/reconcile.yml", apply=True)
    assert again.ok and again.unchanged and NAME not in again.output, again.output


def test_a_node_that_does_not_answer_is_left_out(lab: Lab, edited: None) -> None:
    make_orphan(lab)
    with lab.away("node-2"):
        report = lab.play("playbooks/reconcile.yml", grace_hours=0, apply=True)
    assert "node-2 did not answer; volumes were not looked at" in report.output, report.output
    assert "missing_domain" not in report.output and ORPHAN not in report.output
