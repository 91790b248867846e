# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Planted secrets show up nowhere: not in output, process lists, environments, logs or definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .conftest import Lab
from .secret_watch import USER_DATA_CANARY, planted, process_watch, refuse_seen

SMALL: dict[str, Any] = {"ram": 128, "disk": 2, "node": "node-2"}


def test_no_secret_is_seen_anywhere(lab: Lab, tmp_path: Path) -> None:
    user_data = {"chpasswd": {"users": [{"name": "debian", "password": USER_DATA_CANARY, "type": "text"}]}}
    variables = tmp_path / "variables.json"
    variables.write_text(json.dumps({"user_data": user_data}))
    with process_watch() as processes:
        created = lab.play("playbooks/create_vm.yml", "-vvv", "--diff", "-e", f"@{variables}", name="quiet", **SMALL)
        deleted = lab.play("playbooks/delete_vm.yml", "-vvv", "--diff", name="quiet", purge=True, force=True)
    assert created.ok and deleted.ok, created.output
    refuse_seen(lab, created.output + deleted.output, processes)
    patterns = "\n".join(planted(lab).values())
    for host in lab.hosts("virtualization") + lab.hosts("manager"):
        search = "grep -rlF -f - /var/log /etc/libvirt/qemu /run/libvirt 2>/dev/null; true"
        assert lab.on(host, "sh", "-c", search, stdin=patterns).strip() == "", host
        journal = "journalctl --no-pager -o cat > /run/journal; grep -cF -f - /run/journal; wc -l < /run/journal"
        found, lines = lab.on(host, "sh", "-c", f"{journal}; rm /run/journal", stdin=patterns).split()
        assert int(found) == 0 and int(lines) > 100, host
