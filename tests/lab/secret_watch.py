# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What nobody is to see, and what processes could be seen with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from .conftest import Lab

USER_DATA_CANARY = "canary-9c2e-user-data"


def planted(lab: Lab) -> dict[str, str]:
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


def refuse_seen(lab: Lab, output: str, processes: set[bytes]) -> None:
    """No secret is in the output of a run, nor in a command line or an environment."""
    assert len(processes) > 100
    listed = b"\n".join(processes)
    for name, value in planted(lab).items():
        assert value not in output, f"{name} in the output"
        assert value.encode() not in listed, f"{name} in a command line or an environment"
