# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key that lets the source of a move in on the target: good for one connection to libvirt, within five minutes.

Nodes hold no lasting keys of each other. The line in authorized_keys takes itself away when it is used.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import Backend, NotFound
from .migration_plan import MIGRATION_USER, known_host

KEY_SECONDS = 300
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
# In memory, so that not even a crash leaves a private key on a disk.
_RUN = "/run"
_EXPIRY = "%Y%m%d%H%M%SZ"


def authorized_line(public_key: str, vm_id: str, now: float) -> str:
    """The line that lets this key do one thing, once: talk to libvirt."""
    algorithm, key = public_key.split()[:2]
    expiry = time.strftime(_EXPIRY, time.gmtime(now + KEY_SECONDS))
    command = f"flock .ssh sed -i '/ {vm_id}$/d' .ssh/authorized_keys; exec virt-ssh-helper qemu:///system"
    return f'restrict,expiry-time="{expiry}",command="{command}" {algorithm} {key} {vm_id}'


def kept_lines(text: str, vm_id: str, now: float) -> list[str]:
    """The lines of other VMs' moves that have not run out."""
    lines = []
    for line in text.splitlines():
        expiry = line.partition('expiry-time="')[2].partition('"')[0]
        if expiry > time.strftime(_EXPIRY, time.gmtime(now)) and not line.endswith(f" {vm_id}"):
            lines.append(line)
    return lines


def let_in(public_key: str, vm_id: str) -> None:
    """Let this key in on this node.

    Raises:
        NotFound: role libvirt has not made the user for it.
        Backend: its file cannot be written.
    """
    try:
        user = pwd.getpwnam(MIGRATION_USER)
    except KeyError:
        raise NotFound(
            f"There is no user {MIGRATION_USER} on {os.uname().nodename}", "Run role libvirt there (site.yml)."
        ) from None
    directory = Path(user.pw_dir) / ".ssh"
    file = directory / "authorized_keys"
    try:
        with _locked(directory):
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            now = time.time()
            _write(file, "\n".join([*kept_lines(text, vm_id, now), authorized_line(public_key, vm_id, now), ""]), user)
    except OSError as error:
        raise Backend(f"{file} cannot be written: {error}", "Run role libvirt again (site.yml).") from None


def host_key() -> str:
    """This node's own public host key, without its comment.

    Raises:
        NotFound: it has none of this kind.
    """
    try:
        return " ".join(Path(_HOST_KEY).read_text(encoding="utf-8").split()[:2])
    except OSError as error:
        raise NotFound(f"{_HOST_KEY} cannot be read: {error}", "Make it with 'ssh-keygen -A'.") from None


@contextmanager
def key_files(private_key: str, address: str, port: int, target_host_key: str) -> Iterator[tuple[str, str]]:
    """The paths of the private key and of the known hosts, which are there within the block only."""
    with tempfile.TemporaryDirectory(prefix="virtfleet-", dir=_RUN) as directory:
        key, known_hosts = Path(directory, "key"), Path(directory, "known_hosts")
        key.touch(mode=0o600)
        key.write_text(private_key, encoding="utf-8")
        known_hosts.write_text(known_host(address, port, target_host_key), encoding="utf-8")
        yield str(key), str(known_hosts)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Alone with the file, also against the key that takes itself away."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(file: Path, text: str, user: pwd.struct_passwd) -> None:
    new = file.with_name("authorized_keys.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o600)
    os.chown(new, user.pw_uid, user.pw_gid)
    new.replace(file)
