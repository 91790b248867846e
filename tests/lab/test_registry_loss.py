# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry that is older than what it is of, and one that is gone: what is there comes back, and stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab, Result

OLD, NEW, GONE = "loss-old", "loss-new", "loss-gone"
# In so little memory a guest would start again and again, which takes the processor of everybody else.
SMALL: dict[str, Any] = {"ram": 64, "disk": 5, "start": False}
ASKED: dict[str, Any] = {
    **SMALL, "name": OLD, "project": "loss", "tags": ["kept", "tier=1"], "protected": True,
    "disks": [{"name": "data", "size": 1, "filesystem": "ext4", "mount": "/data"}],
}  # fmt: skip
SHOWN = ("Name", "RAM", "CPU", "Disk", "CreatedAt", "Node", "State", "Image")


def done(result: Result) -> Result:
    assert result.ok, result.output
    return result


def words(result: Result) -> str:
    return " ".join(result.output.split())


def tags(lab: Lab, name: str) -> str:
    return lab.sql(f"SELECT tags FROM virtfleet.vm WHERE name = '{name}' AND state <> 'deleted'")


@pytest.fixture
def copy(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A copy of the registry as it was before, which it is again afterwards."""
    file = tmp_path / "before.pgc"
    done(lab.play("playbooks/backup_registry.yml", file=str(file)))
    assert file.stat().st_mode & 0o777 == 0o600
    try:
        yield file
    finally:
        # Where it ended half-way the registry may not know them.
        lab.play("playbooks/rebuild_registry.yml")
        lab.play("playbooks/protect_vm.yml", name=OLD, protected=False)
        for name in (OLD, NEW, GONE):
            lab.play("playbooks/delete_vm.yml", name=name, purge=True, force=True)
        done(lab.play("playbooks/restore_registry.yml", file=str(file), replace=True))


@pytest.mark.slow
def test_an_older_registry_learns_what_happened_since(lab: Lab, copy: Path, tmp_path: Path) -> None:
    done(lab.play("playbooks/create_vm.yml", **ASKED))
    done(lab.play("playbooks/create_vm.yml", name=GONE, **SMALL))
    hour_old, broken = tmp_path / "hour_old.pgc", tmp_path / "broken.pgc"
    done(lab.play("playbooks/backup_registry.yml", file=str(hour_old)))
    done(lab.play("playbooks/create_vm.yml", name=NEW, tags=["young"], **SMALL))
    done(lab.play("playbooks/delete_vm.yml", name=GONE, purge=True, force=True))
    before = lab.vms(tmp_path)
    refused = lab.play("playbooks/restore_registry.yml", file=str(hour_old))
    assert not refused.ok and "With replace=true" in words(refused), refused.output
    content = hour_old.read_bytes()
    broken.write_bytes(content[: len(content) // 2] + bytes(1000) + content[len(content) // 2 + 1000 :])
    failed = lab.play("playbooks/restore_registry.yml", file=str(broken), replace=True)
    assert not failed.ok and lab.vms(tmp_path) == before, failed.output
    checked = lab.play("playbooks/restore_registry.yml", "--check", file=str(hour_old), replace=True)
    assert checked.ok and lab.vms(tmp_path) == before, checked.output

    restored = done(lab.play("playbooks/restore_registry.yml", file=str(hour_old), replace=True))
    assert "is left out" not in restored.output, restored.output
    print(restored.output)
    assert set(lab.vms(tmp_path)) == set(before) - {NEW} | {GONE}
    print(done(lab.play("playbooks/list_registry_backups.yml")).output)
    # What happened is as hard to change as before, and the other role still reads all of it.
    rights = "has_table_privilege('{}', 'virtfleet.event', '{}')"
    asked = [("virtfleet", "INSERT"), ("virtfleet", "UPDATE"), ("virtfleet_ro", "SELECT"), ("virtfleet_ro", "INSERT")]
    assert lab.sql("SELECT " + ", ".join(rights.format(*one) for one in asked)) == "t|f|t|f"

    report = done(lab.play("playbooks/reconcile.yml", grace_hours=24))
    print(report.output)
    assert f"{GONE} missing_domain is on no node" in words(report)
    assert f"{NEW} unknown_domain" in words(report) and report.unchanged
    # What is gone with its volumes has nothing that a domain could be made of.
    done(lab.play("playbooks/delete_vm.yml", name=GONE))
    done(lab.play("playbooks/reconcile.yml", apply=True))
    assert tags(lab, NEW) == "{young}" and {NEW, OLD} <= set(lab.vms(tmp_path))
    again = done(lab.play("playbooks/reconcile.yml", apply=True))
    assert again.unchanged and f"{NEW} unknown_domain" not in words(again), again.output
    assert done(lab.play("playbooks/create_vm.yml", name=NEW, tags=["young"], **SMALL)).unchanged


def test_a_registry_that_is_gone_is_rebuilt(lab: Lab, copy: Path, tmp_path: Path) -> None:
    done(lab.play("playbooks/create_vm.yml", **ASKED))
    done(lab.play("playbooks/create_vm.yml", name=NEW, **SMALL))
    before = lab.vms(tmp_path)
    lab.sql("DROP SCHEMA virtfleet CASCADE")
    done(lab.play("playbooks/site.yml", "--limit", "database", "--tags", "registry"))
    with lab.away("node-2"):
        refused = lab.play("playbooks/rebuild_registry.yml")
    assert not refused.ok and "node-2 did not answer. Nothing was recorded" in words(refused), refused.output
    checked = done(lab.play("playbooks/rebuild_registry.yml", "--check"))
    assert lab.vms(tmp_path) == {} and not checked.unchanged

    print(done(lab.play("playbooks/rebuild_registry.yml")).output)
    after = lab.vms(tmp_path)
    for name in (OLD, NEW):
        assert [after[name][key] for key in SHOWN] == [before[name][key] for key in SHOWN]
    assert set(after) == set(before) and tags(lab, OLD) == "{kept,tier=1}"
    assert done(lab.play("playbooks/rebuild_registry.yml")).unchanged
    for request in (ASKED, {"name": NEW, **SMALL}):
        assert done(lab.play("playbooks/create_vm.yml", **request)).unchanged
    shown = done(lab.play("playbooks/show_vm.yml", name=OLD))
    assert before[OLD]["Node"] in shown.output
    refused = lab.play("playbooks/delete_vm.yml", name=OLD)
    assert not refused.ok and "is protected" in refused.output, refused.output
    for playbook, options in (
        ("stop_vm", {"force": True}), ("start_vm", {}), ("snapshot_vm", {"snapshot": "one", "freeze": "never"}),
        ("resize_vm", {"disk": 6}), ("protect_vm", {"protected": False}), ("delete_vm", {"force": True}),
        ("undelete_vm", {"start": False}),
    ):  # fmt: skip
        done(lab.play(f"playbooks/{playbook}.yml", name=OLD, **options))
