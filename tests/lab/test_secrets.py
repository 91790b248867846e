# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Planted secrets show up nowhere: not in output, process lists, environments, logs or definitions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .conftest import Lab

USER_DATA_CANARY = "canary-9c2e-user-data"
SMALL: dict[str, Any] = {"ram": 128, "disk": 2, "node": "node-2"}


def secrets(lab: Lab) -> dict[str, str]:
    """Everything that must not be seen, by name."""
    found = yaml.safe_load((lab.inventory.parent / "group_vars" / "all" / "secrets.yml").read_text())
    keyring = "/etc/ceph/ceph.client.libvirt.keyring"
    found["cephx key"] = lab.on("node-1", "ceph-authtool", "-p", "-n", "client.libvirt", keyring).strip()
    found["user_data"] = USER_DATA_CANARY
    assert all(len(value) >= 16 for value in found.values())
    return dict(found)


@contextmanager
def process_watch() -> Iterator[set[bytes]]:
    """Every command line and environment on this machine, which the lab's hosts share, while it is open."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for file in ("cmdline", "environ"):
                    try:
                        seen.add((process / file).read_bytes())
                    except OSError:
                        continue  # it has ended
            over.wait(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_no_secret_is_seen_anywhere(lab: Lab, tmp_path: Path) -> None:
    hidden = secrets(lab)
    user_data = {"chpasswd": {"users": [{"name": "debian", "password": USER_DATA_CANARY, "type": "text"}]}}
    variables = tmp_path / "variables.json"
    variables.write_text(json.dumps({"user_data": user_data}))
    with process_watch() as processes:
        created = lab.play("playbooks/create_vm.yml", "-vvv", "--diff", "-e", f"@{variables}", name="quiet", **SMALL)
        site = lab.play("playbooks/site.yml", "-vvv", "--diff")
        deleted = lab.play("playbooks/delete_vm.yml", "-vvv", "--diff", name="quiet", purge=True, force=True)
    assert created.ok and site.ok and deleted.ok, created.output
    assert len(processes) > 100
    output = created.output + site.output + deleted.output
    listed = b"\n".join(processes)
    for name, value in hidden.items():
        assert value not in output, f"{name} in the output"
        assert value.encode() not in listed, f"{name} in a command line or an environment"
    patterns = "\n".join(hidden.values())
    for host in lab.hosts("virtualization") + lab.hosts("manager"):
        search = "grep -rlF -f - /var/log /etc/libvirt/qemu /run/libvirt 2>/dev/null; true"
        assert lab.on(host, "sh", "-c", search, stdin=patterns).strip() == "", host
        journal = "journalctl --no-pager -o cat > /run/journal; grep -cF -f - /run/journal; wc -l < /run/journal"
        found, lines = lab.on(host, "sh", "-c", f"{journal}; rm /run/journal", stdin=patterns).split()
        assert int(found) == 0 and int(lines) > 100, host
