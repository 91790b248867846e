# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Backups of the registry as the role's script makes them: they can be restored, and one that fails takes none away."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import ROLES, PostgreSQL

SCRIPT = ROLES / "postgresql/files/virtfleet-registry-backup"
DAY = 86400


@pytest.fixture
def settings_of(admin: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    """The environment of the script."""
    for name in ("dumps", "metrics"):
        (tmp_path / name).mkdir()
    return {
        "DATABASE": "virtfleet", "DIRECTORY": str(tmp_path / "dumps"), "KEEP": "2", "DAYS": "3",
        "METRICS": str(tmp_path / "metrics"), "PGHOST": admin["host"], "PGPORT": str(admin["port"]),
    }  # fmt: skip


def back_up(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT)], env=os.environ | settings, capture_output=True, text=True, check=False, timeout=60
    )


def dumps(settings: dict[str, str]) -> list[Path]:
    return sorted(Path(settings["DIRECTORY"]).iterdir())


def old(settings: dict[str, str], name: str, days: float) -> Path:
    """A dump of so many days ago."""
    path = Path(settings["DIRECTORY"]) / f"registry-{name}.pgc"
    path.write_bytes(b"")
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def test_a_dump_is_whole_and_told_of(settings_of: dict[str, str], sql: Callable[..., Any]) -> None:
    done = back_up(settings_of)
    assert done.returncode == 0, done.stderr
    (dump,) = dumps(settings_of)
    assert dump.stat().st_mode & 0o777 == 0o600 and dump.suffix == ".pgc"
    listed = subprocess.run(["pg_restore", "--list", dump], capture_output=True, text=True, check=True).stdout
    assert "TABLE DATA virtfleet vm" in listed and "ACL virtfleet TABLE event" in listed
    (metrics,) = Path(settings_of["METRICS"]).iterdir()
    assert metrics.name == "virtfleet_registry_backup.prom" and metrics.stat().st_mode & 0o777 == 0o644
    values = dict(line.split() for line in metrics.read_text().splitlines() if not line.startswith("#"))
    assert int(values["virtfleet_registry_backup_size_bytes"]) == dump.stat().st_size
    assert abs(int(values["virtfleet_registry_backup_timestamp_seconds"]) - time.time()) < 60


def test_what_is_old_goes_but_the_newest_stay(settings_of: dict[str, str]) -> None:
    gone = [old(settings_of, "20250101-000000z", 9), old(settings_of, "20250102-000000z", 8)]
    kept = [old(settings_of, "20250103-000000z", 2), old(settings_of, "20250104-000000z", 7)]
    assert back_up(settings_of).returncode == 0
    # The newest but one is older than the days, and stays.
    assert [path for path in [*gone, *kept] if path.exists()] == kept
    assert len(dumps(settings_of)) == 3


def test_one_that_fails_takes_none_away_and_leaves_nothing(settings_of: dict[str, str]) -> None:
    assert back_up(settings_of).returncode == 0
    before = [*dumps(settings_of), old(settings_of, "20250101-000000z", 99)]
    metrics = (Path(settings_of["METRICS"]) / "virtfleet_registry_backup.prom").read_text()
    for broken in ({"DATABASE": "nowhere"}, {"PGPORT": "1"}):
        done = back_up(settings_of | broken)
        assert done.returncode != 0 and done.stderr
        assert set(dumps(settings_of)) == set(before)
    assert (Path(settings_of["METRICS"]) / "virtfleet_registry_backup.prom").read_text() == metrics


def test_without_a_directory_for_metrics_there_is_a_dump_all_the_same(settings_of: dict[str, str]) -> None:
    assert back_up(settings_of | {"METRICS": ""}).returncode == 0
    assert len(dumps(settings_of)) == 1 and not list(Path(settings_of["METRICS"]).iterdir())


def test_a_standby_leaves_it_to_its_primary(settings_of: dict[str, str], admin: dict[str, Any], folder: Path) -> None:
    standby = PostgreSQL(folder, primary=admin)
    standby.start()
    try:
        done = back_up(settings_of | {"PGPORT": str(standby.superuser["port"])})
    finally:
        standby.stop()
    assert done.returncode == 0 and "is a standby" in done.stdout, done.stderr
    assert dumps(settings_of) == []
