# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM is: names, units, limits, and the reading of what a user asked for.

Pure: no I/O, no Ansible, no client library. Memory is in MiB, disks are in GiB, both binary.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import image_names
from .errors import Invalid

DEFAULTS: dict[str, Any] = {"ram": 1024, "cpu": 1, "disk": 10, "image": "debian-13", "project": "default"}

MEMORY_MIB = (64, 4 * 1024 * 1024)
VCPUS = (1, 512)
DISK_GIB = (1, 64 * 1024)

# RFC 1123, section 2.1: letters, digits and hyphens, not at either end, at most 63; lower case only, as libvirt,
# RBD and DNS would otherwise disagree on whether two names are the same.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:=-]{0,62}")
_SIZE = re.compile(r"(?P<number>[0-9]{1,12})\s*(?P<unit>MiB|GiB|TiB)?")
_UNIT_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_SSH_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\r\n]*)?")


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A VM as asked for, complete and checked.

    Attributes:
        given: the names of the fields that the user gave this time; the others are defaults.
        user_data: the user's own cloud-config, or None. It may hold secrets.
    """

    name: str
    project: str
    memory_mib: int
    vcpus: int
    disk_gib: int
    image: str
    node: str | None = None
    tags: tuple[str, ...] = ()
    ssh_authorized_keys: tuple[str, ...] = ()
    user_data: Mapping[str, Any] | None = field(default=None, repr=False)
    given: frozenset[str] = frozenset()

    @property
    def user_data_sha256(self) -> str | None:
        """A digest to compare user-data by, so that the user-data itself need not be stored."""
        return None if self.user_data is None else digest(self.user_data)


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def name_problem(name: Any, what: str = "name") -> str | None:
    """Why this is no RFC 1123 label in lower case, or None when it is one."""
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        return (
            f"{what} {_shown(name)} is not a DNS label: 1 to 63 of a-z, 0-9 and '-', "
            "beginning and ending with a letter or digit"
        )
    return None


def parse_request(raw: Mapping[str, Any]) -> VmSpec:
    """Read a user's variables into a VmSpec, see read_request.

    Raises:
        Invalid: with every problem found, not only the first.
    """
    spec, problems = read_request(raw)
    if problems:
        raise Invalid(problems)
    return spec


def read_request(raw: Mapping[str, Any]) -> tuple[VmSpec, list[str]]:
    """Read a user's variables (name, ram, cpu, disk, image, ...) into a VmSpec, and say what is wrong with them.

    Values that are None or absent take the defaults. Strings are accepted for numbers because that is what
    ``-e ram=1024`` gives.

    Returns:
        The VM, which is fit for use only without problems, and every problem found.
    """
    reader = _Reader(raw)
    spec = VmSpec(
        name=reader.label("name", None),
        project=reader.label("project", DEFAULTS["project"]),
        memory_mib=reader.size("ram", DEFAULTS["ram"], "MiB", MEMORY_MIB),
        vcpus=reader.count("cpu", DEFAULTS["cpu"], VCPUS),
        disk_gib=reader.size("disk", DEFAULTS["disk"], "GiB", DISK_GIB),
        image=reader.image(),
        node=reader.label("node", None) if raw.get("node") is not None else None,
        tags=reader.strings("tags", _TAG, "1 to 63 of letters, digits and _ . : = -"),
        ssh_authorized_keys=reader.strings("ssh_authorized_keys", _SSH_KEY, "one line of an OpenSSH public key"),
        user_data=reader.user_data(),
        given=frozenset(key for key, value in raw.items() if value is not None),
    )
    return spec, reader.problems


class _Reader:
    """Reads one field after the other and gathers the problems."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.problems: list[str] = []

    def _value(self, key: str, default: Any) -> Any:
        value = self.raw.get(key)
        return default if value is None else value

    def label(self, key: str, default: str | None) -> str:
        value = self._value(key, default)
        problem = name_problem(value, key)
        if problem:
            self.problems.append(problem)
        return str(value)

    def image(self) -> str:
        value = self._value("image", DEFAULTS["image"])
        if not isinstance(value, str) or not image_names.PATTERN.fullmatch(value):
            self.problems.append(f"image {_shown(value)} is not {image_names.RULE}")
        return str(value)

    def count(self, key: str, default: int, limits: tuple[int, int]) -> int:
        number = _whole_number(self._value(key, default))
        if number is None or not limits[0] <= number <= limits[1]:
            self.problems.append(
                f"{key} {_shown(self.raw.get(key))} is not a whole number from {limits[0]} to {limits[1]}"
            )
            return default
        return number

    def size(self, key: str, default: int, unit: str, limits: tuple[int, int]) -> int:
        value = self._value(key, default)
        size = _size_in(value, unit)
        if size is None or not limits[0] <= size <= limits[1]:
            self.problems.append(
                f"{key} {_shown(value)} is not a size from {limits[0]} to {limits[1]} {unit}"
                f" (a whole number of {unit}, or with a unit like '2GiB')"
            )
            return default
        return size

    def strings(self, key: str, pattern: re.Pattern[str], rule: str) -> tuple[str, ...]:
        value = self._value(key, ())
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            self.problems.append(f"{key} is not a list")
            return ()
        for item in items:
            if not isinstance(item, str) or not pattern.fullmatch(item.strip()):
                self.problems.append(f"{key} has {_shown(item)}, which is not {rule}")
        return tuple(dict.fromkeys(str(item).strip() for item in items))

    def user_data(self) -> Mapping[str, Any] | None:
        value = self.raw.get("user_data")
        if value is None or isinstance(value, Mapping):
            return value
        # Never show any of it: user-data holds passwords.
        self.problems.append("user_data is not a mapping (cloud-config); text must be parsed as YAML first")
        return None


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value.strip()):
        return int(value.strip())
    return None


def _size_in(value: Any, unit: str) -> int | None:
    """The size in `unit` (MiB or GiB), or None when it is not a whole number of them."""
    number = _whole_number(value)
    if number is not None:
        return number
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    mib = int(match["number"]) * _UNIT_MIB[match["unit"] or unit]
    whole, rest = divmod(mib, _UNIT_MIB[unit])
    return None if rest else whole


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
