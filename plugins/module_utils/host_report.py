# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host tells of itself before anything is installed on it. Only Python and util-linux are needed."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

LISTEN = "0A"
MIB = 1024**2
GIB = 1024**3
# What adjtimex(2) returns while nobody has set the clock.
UNSYNCHRONIZED = 5


def report(module: AnsibleModule, devices: Iterable[str], ports: Iterable[int], paths: Iterable[str]) -> dict[str, Any]:
    """Plain data, for the controller to judge."""
    release = _os_release()
    return {
        "time": time.time(),
        "clock_is_set": _clock_is_set(),
        "distribution": release.get("ID", "?"),
        "release": release.get("VERSION_ID", "?"),
        "is_root": os.geteuid() == 0,
        "hostname": platform.node().split(".")[0],
        "knows_its_name": _resolves(platform.node()),
        "machine_id": _read("/etc/machine-id").strip(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB,
        "addresses": _addresses(module),
        "default_address": _default_address(module),
        "free_gib": {path: _free_gib(path) for path in paths},
        "devices": {device: _device(module, device) for device in devices},
        "listeners": _listeners(set(ports)),
        "has_ceph": Path("/etc/ceph/ceph.conf").exists(),
    }


def _os_release() -> dict[str, str]:
    lines = (line.partition("=") for line in _read("/etc/os-release").splitlines())
    return {key: value.strip('"') for key, _equals, value in lines}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _clock_is_set() -> bool | None:
    """None in a container, whose clock is not its own."""
    if Path("/run/systemd/container").exists():
        return None
    # struct timex is smaller; all zeros only ask.
    return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != UNSYNCHRONIZED)


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def _addresses(module: AnsibleModule) -> list[str]:
    code, out, _error = module.run_command(["ip", "-oneline", "address", "show", "scope", "global"])
    return re.findall(r"inet6? ([0-9a-f.:]+)/", out) if code == 0 else []


def _default_address(module: AnsibleModule) -> str:
    """What Ansible's fact default_ipv4 has: the source address of what goes by the default route."""
    code, out, _error = module.run_command(["ip", "-4", "-oneline", "route", "get", "192.0.2.1"])
    found = re.search(r" src ([0-9.]+)", out) if code == 0 else None
    return found[1] if found else ""


def _free_gib(path: str) -> float:
    there = Path(path)
    while not there.exists():
        there = there.parent
    return round(shutil.disk_usage(there).free / GIB, 1)


def _device(module: AnsibleModule, device: str) -> dict[str, Any]:
    try:
        is_block = stat.S_ISBLK(Path(device).stat().st_mode)
    except OSError:
        return {"is_block": False, "signatures": []}
    code, out, error = module.run_command(["wipefs", "--no-act", "--noheadings", "--output", "TYPE", device])
    found = sorted({line.strip() for line in out.splitlines() if line.strip()})
    return {"is_block": is_block, "signatures": found if code == 0 or not is_block else [error.strip()]}


def _listeners(ports: set[int]) -> list[dict[str, Any]]:
    """Who listens on these TCP ports, on whatever address."""
    inodes: dict[str, int] = {}
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(file).splitlines()[1:]:
            words = line.split()
            port = int(words[1].rpartition(":")[2], 16)
            if words[3] == LISTEN and port in ports:
                inodes[words[9]] = port
    names = _owners(set(inodes)) if inodes else {}
    found = {(port, names.get(inode, "?")) for inode, port in inodes.items()}
    return [{"port": port, "process": process} for port, process in sorted(found)]


def _owners(inodes: set[str]) -> dict[str, str]:
    """The names of the processes that hold these sockets; of several the first, which others were forked from."""
    names: dict[str, str] = {}
    for process in sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True):
        for inode in _sockets(f"/proc/{process}/fd") & inodes:
            names[inode] = _read(f"/proc/{process}/comm").strip()
    return names


def _sockets(directory: str) -> set[str]:
    found: set[str] = set()
    try:
        for name in os.listdir(directory):
            target = os.readlink(f"{directory}/{name}")
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    except OSError:
        # It ended meanwhile.
        pass
    return found
