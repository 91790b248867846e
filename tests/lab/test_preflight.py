# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is wrong is said at once, before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Lab

HOST = "manager-1"
SQUATTER = "import socket, time; held = socket.create_server(('', 9283)); time.sleep(600)"


def test_a_lab_that_is_right_is_let_through(lab: Lab) -> None:
    result = lab.play("playbooks/preflight.yml")
    assert result.ok and result.unchanged, result.output
    assert " error " not in result.output


def test_everything_that_is_wrong_is_in_one_table(lab: Lab, tmp_path: Path) -> None:
    prefix = lab.address(HOST).rsplit(".", 1)[0]
    here = {HOST: {"ceph_osd_devices": ["/dev/null", "/dev/nowhere"]}}
    wrong = {
        "virtualization": {"hosts": {"away": {"ansible_host": f"{prefix}.250", "ansible_ssh_timeout": 2}}},
        "manager": {"hosts": {"twin": {"ansible_host": f"{prefix}.11"}}},
        "monitors": {"hosts": {HOST: {}}},
        "montoring": {"hosts": {HOST: {}}},
        "ceph_osd": {"hosts": here},
        "ceph_mgr": {"hosts": {HOST: {}}},
    }
    more = tmp_path / "more.yml"
    more.write_text(json.dumps(wrong))
    lab.on(HOST, "systemd-run", "--quiet", "--collect", "--unit=squatter", "python3", "-c", SQUATTER)
    try:
        result = lab.play("playbooks/site.yml", "-i", str(more), registry_redis_host=f"{prefix}.12")
    finally:
        lab.on(HOST, "systemctl", "stop", "squatter")
    assert not result.ok and result.unchanged, result.output
    table = [line.split() for line in result.output.splitlines()]
    rows = {(words[0], words[1], words[2]) for words in table if len(words) > 3}
    assert {
        ("away", "warning", "reach"),
        (HOST, "error", "disks"),
        (HOST, "error", "ports"),
        ("inventory", "error", "variables"),
        ("inventory", "warning", "groups"),
        ("node-1", "error", "names"),
    } <= rows, result.output
    assert "/dev/null is no block device" in result.output and "port 9283 is taken by python3" in result.output
    assert "node-1 and twin have the address" in result.output and "Did you mean monitoring?" in result.output
    # Nothing came after it.
    assert "Facts" not in result.output


def test_warnings_can_be_accepted_and_errors_cannot(lab: Lab, tmp_path: Path) -> None:
    more = tmp_path / "more.yml"
    more.write_text(json.dumps({"montoring": {"hosts": {HOST: {}}}}))
    accepted = lab.play("playbooks/preflight.yml", "-i", str(more), preflight_ignore=["inventory:groups"])
    assert accepted.ok and "montoring" not in accepted.output, accepted.output
    refused = lab.play("playbooks/preflight.yml", registry_host="192.0.2.1", preflight_ignore=["variables"])
    assert not refused.ok and "registry_host is 192.0.2.1" in refused.output, refused.output
