# SPDX-License-Identifier: GPL-3.0-or-later
"""The manager keeps the registry right by itself, and tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import JOBS, Lab, run_job, until

MANAGER = "manager-1"
NAME = "manager-vm"
METRICS = "/var/lib/prometheus/node-exporter"


@pytest.fixture
def gone_again(lab: Lab) -> Iterator[None]:
    yield
    lab.play("playbooks/delete_vm.yml", name=NAME, purge=True, force=True)


@pytest.mark.parametrize("job", JOBS)
def test_its_timers_run(lab: Lab, job: str) -> None:
    timer = f"virtfleet-{job}.timer"
    assert lab.on(MANAGER, "systemctl", "is-enabled", timer).strip() == "enabled"
    assert lab.on(MANAGER, "systemctl", "is-active", timer).strip() == "active"
    until(lambda: started(lab, timer), f"{timer} starts its service", 90)


def started(lab: Lab, timer: str) -> bool:
    """Whether the timer has started its service, be it that tests hold that one."""
    last = lab.on(MANAGER, "systemctl", "show", "--property=LastTriggerUSec", "--value", timer).strip()
    return last not in ("", "0", "n/a")


def test_a_refresh_records_what_virsh_did_and_the_report_counts_what_differs(lab: Lab, gone_again: None) -> None:
    made = lab.play("playbooks/create_vm.yml", name=NAME, node="node-1", ram=64, disk=5, start=False)
    assert made.ok, made.output
    lab.on("node-1", "virsh", "start", NAME)
    run_job(lab, "refresh")
    assert lab.sql(f"SELECT state FROM virtfleet.vm WHERE name = '{NAME}' AND state <> 'deleted'") == "running"
    history = lab.play("playbooks/vm_history.yml", name=NAME)
    assert f"virtfleet@{MANAGER}" in history.output and "refresh" in history.output, history.output
    lab.on("node-1", "virsh", "destroy", NAME)
    run_job(lab, "reconcile")
    report = lab.on(MANAGER, "cat", f"{METRICS}/virtfleet-reconcile.prom").splitlines()
    assert 'virtfleet_reconcile_findings{kind="wrong_state"} 1' in report
    states = lab.on(MANAGER, "cat", f"{METRICS}/virtfleet-refresh.prom").splitlines()
    assert "virtfleet_vms_half_made_oldest_seconds 0" in states


@pytest.mark.slow
def test_a_node_that_is_silent_is_let_out_and_stays_known(lab: Lab) -> None:
    known = lab.on(MANAGER, "cat", "/etc/virtfleet/manager/known_hosts")
    with lab.away("node-2"):
        run = lab.play("playbooks/site.yml", "--tags", "manager", "--skip-tags", "preflight")
    assert "Run the timers" in run.output and not run.changed_hosts, run.output
    assert run.recap[MANAGER]["unreachable"] == run.recap[MANAGER]["failed"] == 0, run.output
    assert lab.on(MANAGER, "cat", "/etc/virtfleet/manager/known_hosts") == known


def test_its_key_is_taken_from_there_only(lab: Lab) -> None:
    key = lab.on(MANAGER, "cat", "/etc/virtfleet/manager/id_ed25519")
    lab.on("node-3", "sh", "-c", "umask 077; cat > /tmp/stolen", stdin=key)
    address = lab.on("node-1", "hostname", "-I").split()[0]
    try:
        tried = lab.on("node-3", "sh", "-c", f"{SSH} {address} true || echo refused")
        assert "refused" in tried
    finally:
        lab.on("node-3", "rm", "/tmp/stolen")


SSH = "ssh -i /tmp/stolen -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
