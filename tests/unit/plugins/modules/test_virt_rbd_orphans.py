# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that belong to nothing, through main()."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils import orphan_plan, run_orphans
from ansible_collections.virtfleet.cloud.plugins.module_utils.orphan_plan import PoolVolume
from ansible_collections.virtfleet.cloud.plugins.module_utils.plan_types import VolumeFacts
from ansible_collections.virtfleet.cloud.plugins.modules import virt_rbd_orphans
from ansible_collections.virtfleet.cloud.tests.unit.doubles import FakeCeph, World

Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def orphans(run_module: Runner, node_config: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """The module over a pool with a volume of a VM that is known, and one of another that was made a day ago."""

    def marked(ceph: FakeCeph) -> list[PoolVolume]:
        made = datetime.now(UTC) - timedelta(hours=25)
        return [PoolVolume(name, facts.vm_id or "", facts.watchers, made) for name, facts in ceph.world.volumes.items()]

    monkeypatch.setattr(run_orphans, "marked_volumes", marked)
    world.volumes = {"a.root": VolumeFacts(1, None, "1", None, 0), "old.root": VolumeFacts(1, None, "2", None, 0)}
    return lambda check=False, **arguments: run_module(
        virt_rbd_orphans.main, check, node_config=node_config, known_ids=["1"], **arguments
    )


def test_check_run_rerun_check(orphans: Runner, world: World) -> None:
    check = orphans(check=True)
    assert world.mutations == []
    run = orphans()
    assert check["changed"] and check["actions"] == run["actions"] == ["trash old.root"]
    assert check["diff"] == run["diff"] == {"before": {"orphans": ["old.root"]}, "after": {"orphans": []}}
    for again in (orphans(), orphans(check=True)):
        assert not again["changed"] and again["findings"] == []
    assert list(world.volumes) == ["a.root"] and list(world.trash) == ["old.root"]


def test_the_young_stay_and_are_reported(orphans: Runner, world: World) -> None:
    seen = orphans(grace_hours=26)
    assert not seen["changed"] and seen["findings"][0]["detail"].endswith("it is younger than 26 hours")
    assert world.mutations == []


@pytest.mark.parametrize("hours", [-1, -24 * 365, 23])
def test_what_is_younger_or_of_the_future_never_goes(hours: int) -> None:
    """Volumes have the time of an OSD's host, and "now" is that of the node that looks."""
    now = datetime.now(UTC)
    made = PoolVolume("old.root", "2", 0, now - timedelta(hours=hours))
    (orphan,) = orphan_plan.orphans([], [made], now, timedelta(hours=24))
    assert orphan.stays == "it is younger than 24 hours"
    assert not orphan_plan.decide_orphans([orphan]).changed
