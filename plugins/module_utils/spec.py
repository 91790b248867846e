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
from dataclasses import dataclass, field, replace
from typing import Any

from . import image_names
from .errors import Invalid
from .field_reader import FieldReader, shown
from .nic import AUTO, Nic, read_nics
from .placement_wish import ANYWHERE, PlacementWish, read_wish

DEFAULTS: dict[str, Any] = {
    "ram": 1024,
    "cpu": 1,
    "disk": 10,
    "image": "debian-13",
    "project": "default",
    "guest_user": "debian",
    "subnet": "default",
}

# What is another way to say it.
_SHORT_FOR = {"ip": "networks", "subnet": "networks"}

# Names of volumes that every VM has; a data disk cannot have them.
RESERVED_DISKS = ("root", "seed")
FILESYSTEMS = ("ext4", "xfs", "btrfs")

MEMORY_MIB = (64, 4 * 1024 * 1024)
VCPUS = (1, 512)
DISK_GIB = (1, 64 * 1024)

_NODE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")  # as inventories call hosts
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:=-]{0,62}")
_SERIAL = re.compile(r"[A-Za-z0-9_-]{1,20}")  # what QEMU shows of a serial to the guest
_MOUNT = re.compile(r"(/[A-Za-z0-9._-]+)+")
_USER = re.compile(r"(?!root$)[a-z_][a-z0-9_-]{0,31}")
_SSH_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\r\n]*)?")


@dataclass(frozen=True, slots=True)
class DataDisk:
    """A disk beside the root disk.

    Attributes:
        name: part of the volume's name, `<vm>.<name>`.
        filesystem: made in the guest by cloud-init at its first boot, or None.
        mount: where the guest mounts that, or None.
        serial: what the guest finds the disk by, in /dev/disk/by-id.
    """

    name: str
    size_gib: int
    filesystem: str | None = None
    mount: str | None = None
    serial: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The disk as results, the registry and module parameters hold it, without what was not asked for."""
        values = {field: getattr(self, field) for field in self.__slots__}
        return {field: value for field, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Source:
    """The VM that another one is cloned from, and the snapshot of it; None is the newest that is whole."""

    name: str
    id: str
    snapshot: str | None = None

    def volume(self, disk: str) -> str:
        """The volume of a disk of that VM."""
        return f"{self.name}.{disk}"

    def as_dict(self) -> dict[str, Any]:
        """As the registry and module parameters hold it."""
        return {"name": self.name, "id": self.id, "snapshot": self.snapshot}


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A VM as asked for, complete and checked.

    Attributes:
        memory_max_mib, vcpus_max: up to here memory and virtual CPUs can grow while the VM runs.
        given: the names of the fields that the user gave this time; the others are defaults.
        user_data: the user's own cloud-config, or None. It may hold secrets.
        placement: what is asked of the node that it is put on.
        networks: its network interfaces; without any it has one, see `nics`.
        source: what it is cloned from in place of the image, or None.
        copied: its disks are copies of another VM's, whose identity its guest has to give up.
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
    memory_max_mib: int = 0
    vcpus_max: int = 0
    disks: tuple[DataDisk, ...] = ()
    networks: tuple[Nic, ...] = ()
    placement: PlacementWish = ANYWHERE
    protected: bool = False
    guest_user: str = DEFAULTS["guest_user"]
    given: frozenset[str] = frozenset()
    source: Source | None = None
    copied: bool = False

    @property
    def nics(self) -> tuple[Nic, ...]:
        """What it is connected to: where nothing was asked for, the network of its node, by DHCP."""
        return self.networks or (Nic(),)

    @property
    def user_data_sha256(self) -> str | None:
        """A digest to compare user-data by, so that the user-data itself need not be stored."""
        return None if self.user_data is None else digest(self.user_data)


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: Any) -> str:
    """A JSON value as text; equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


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
    name, project = reader.label("name", None), reader.label("project", DEFAULTS["project"])
    memory = reader.size("ram", DEFAULTS["ram"], "MiB", MEMORY_MIB)
    vcpus = reader.count("cpu", DEFAULTS["cpu"], VCPUS)
    spec = VmSpec(
        name=name,
        project=project,
        memory_mib=memory,
        vcpus=vcpus,
        memory_max_mib=reader.size("ram_max", memory, "MiB", (memory, MEMORY_MIB[1])),
        vcpus_max=reader.count("cpu_max", vcpus, (vcpus, VCPUS[1])),
        disk_gib=reader.size("disk", DEFAULTS["disk"], "GiB", DISK_GIB),
        image=reader.image(),
        node=reader.matching("node", _NODE, "a host's name: 1 to 253 of letters, digits and _ . -"),
        tags=reader.strings("tags", _TAG, "1 to 63 of letters, digits and _ . : = -"),
        ssh_authorized_keys=reader.strings("ssh_authorized_keys", _SSH_KEY, "one line of an OpenSSH public key"),
        user_data=reader.user_data(),
        disks=reader.disks(),
        networks=reader.networks(),
        placement=read_wish(reader),
        protected=reader.flag("protected"),
        guest_user=reader.matching("guest_user", _USER, "a user's name in lower case, and not root")
        or DEFAULTS["guest_user"],
        given=frozenset(_SHORT_FOR.get(key, key) for key, value in raw.items() if value is not None),
    )
    return spec, reader.problems


def parse_disks(raw: Any) -> tuple[DataDisk, ...]:
    """Read a list of data disks by itself.

    Raises:
        Invalid: with every problem found.
    """
    reader = _Reader({"disks": raw})
    disks = reader.disks()
    if reader.problems:
        raise Invalid(reader.problems)
    return disks


class _Reader(FieldReader):
    """Reads the fields of a VM."""

    def image(self) -> str:
        value = self.value("image", DEFAULTS["image"])
        if not isinstance(value, str) or not image_names.PATTERN.fullmatch(value):
            self.problems.append(f"image {shown(value)} is not {image_names.RULE}")
        return str(value)

    def disks(self) -> tuple[DataDisk, ...]:
        value = self.value("disks", ())
        if not isinstance(value, (list, tuple)) or not all(isinstance(disk, Mapping) for disk in value):
            self.problems.append("disks is not a list of mappings (name, size, filesystem, mount, serial)")
            return ()
        disks = tuple(self._disk(disk) for disk in value)
        for what, values in (("name", [d.name for d in disks]), ("serial", [d.serial for d in disks])):
            twice = sorted({value for value in values if values.count(value) > 1})
            self.problems += [f"disks: {what} {value} is there twice" for value in twice]
        return disks

    def _disk(self, raw: Mapping[str, Any]) -> DataDisk:
        reader = _Reader({"size": raw.get("size_gib"), **raw})
        name = reader.label("name", None)
        disk = DataDisk(
            name=name,
            size_gib=reader.size("size", None, "GiB", DISK_GIB),
            filesystem=reader.choice("filesystem", FILESYSTEMS),
            mount=reader.matching("mount", _MOUNT, "an absolute path"),
            serial=reader.matching("serial", _SERIAL, "1 to 20 of letters, digits, _ and -") or name[:20],
        )
        if name in RESERVED_DISKS:
            reader.problems.append(f"name {name} is taken by a disk that every VM has")
        if disk.mount and not disk.filesystem:
            reader.problems.append("mount needs a filesystem")
        unknown = sorted(set(raw) - {"name", "size", "size_gib", "filesystem", "mount", "serial"})
        reader.problems += [f"there is no {key}" for key in unknown]
        self.problems += [f"disks: {name}: {problem}" for problem in reader.problems]
        return disk

    def networks(self) -> tuple[Nic, ...]:
        nics, problems = read_nics(self._one_network() or self.value("networks", ()))
        self.problems += problems
        return nics

    def _one_network(self) -> list[dict[str, Any]] | None:
        """The one interface of a VM that asks for an address of a subnet, in short."""
        ip, subnet = self.raw.get("ip"), self.raw.get("subnet")
        if ip is None and subnet is None:
            return None
        if self.raw.get("networks"):
            self.problems.append("networks and ip with subnet are two ways to say it; give one")
        return [{"subnet": subnet or DEFAULTS["subnet"], "address": ip or AUTO}]

    def user_data(self) -> Mapping[str, Any] | None:
        value = self.raw.get("user_data")
        if value is None or isinstance(value, Mapping):
            return value
        # Never show any of it: user-data holds passwords.
        self.problems.append("user_data is not a mapping (cloud-config); text must be parsed as YAML first")
        return None


def changed_request(current: Mapping[str, Any], changes: Mapping[str, Any]) -> VmSpec:
    """A VM as it is (the variables of create_vm.yml) with some of them changed.

    Memory and virtual CPUs lift their maxima with them where these are not given.

    Args:
        changes: variables of create_vm.yml; `attach` is a data disk to add or grow, `detach` the name of one to leave
            out.

    Raises:
        Invalid: the result is no good, or a disk would shrink.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    merged = {**current, **given}
    for size, maximum in (("ram", "ram_max"), ("cpu", "cpu_max")):
        if size in given and maximum not in given:
            merged[maximum] = None
    merged["disks"] = _changed_disks(merged["disks"], given)
    spec, problems = read_request(merged)
    wide = replace(
        spec,
        memory_max_mib=max(spec.memory_max_mib, current["ram_max"] if "ram_max" not in given else 0),
        vcpus_max=max(spec.vcpus_max, current["cpu_max"] if "cpu_max" not in given else 0),
    )
    problems += _shrinking(current, spec) if not problems else []
    if problems:
        raise Invalid(problems)
    return wide


# What a clone has of its source where it is not asked for otherwise.
_INHERITED = ("ram", "cpu", "disk", "image", "ram_max", "cpu_max", "disks", "project")


def cloned_request(source: Mapping[str, Any], request: Mapping[str, Any]) -> tuple[VmSpec, list[str]]:
    """Read what a user asked of a clone into a VmSpec; what was left out is as the source has it.

    Args:
        source: the variables of create_vm.yml that would make the source.
        request: those of the clone. Data disks that are given have the serial and the file system of the source's.

    Returns:
        The VM, which is fit for use only without problems, and every problem found; a smaller disk is one.
    """
    given = {key: value for key, value in request.items() if value is not None}
    merged = {**{key: source[key] for key in _INHERITED}, **given}
    for size, maximum in (("ram", "ram_max"), ("cpu", "cpu_max")):
        if size in given and maximum not in given:
            merged[maximum] = None
    by_name = {disk["name"]: {**disk, "size": disk["size_gib"]} for disk in source["disks"]}
    merged["disks"] = _like_the_sources(merged["disks"], by_name)
    spec, problems = read_request(merged)
    problems += _shrinking(source, spec) if not problems else []
    return replace(spec, given=frozenset(given)), problems


def _like_the_sources(disks: Any, source: Mapping[str, Mapping[str, Any]]) -> Any:
    """Data disks with what the source's disk of the same name has; what is no list of them is refused later."""
    if not isinstance(disks, (list, tuple)) or not all(isinstance(disk, Mapping) for disk in disks):
        return disks
    merged = []
    for disk in disks:
        given = {key: value for key, value in disk.items() if value is not None}
        inherited = dict(source.get(str(given.get("name")), {}))
        inherited.pop("size_gib", None)
        merged.append({**inherited, **given})
    return merged


def _changed_disks(disks: Any, changes: Mapping[str, Any]) -> Any:
    """The list of data disks with one added, grown, or left out; what is no list of them is refused later."""
    if not isinstance(disks, (list, tuple)) or not {"attach", "detach"} & set(changes):
        return disks
    attach, detach = changes.get("attach"), changes.get("detach")
    by_name = {disk["name"]: disk for disk in disks if disk["name"] != detach}
    if attach:
        given = {key: value for key, value in attach.items() if value is not None}
        before = dict(by_name.get(attach["name"], {}))
        if "size" in given:
            before.pop("size_gib", None)
        by_name[attach["name"]] = {**before, **given}
    return list(by_name.values())


def _shrinking(current: Mapping[str, Any], spec: VmSpec) -> list[str]:
    sizes = {disk.name: disk.size_gib for disk in spec.disks}
    before = {"root": current["disk"]} | {disk["name"]: disk["size_gib"] for disk in current["disks"]}
    return [
        f"disk {name} has {size} GiB and is never shrunk, not to {after} GiB"
        for name, size in before.items()
        if (after := ({"root": spec.disk_gib} | sizes).get(name, size)) < size
    ]


def with_flavor(request: Mapping[str, Any], flavors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The request with the sizes of its flavor where it gives none of its own.

    Args:
        flavors: named sizes, each with some of ram, cpu, disk, ram_max and cpu_max.

    Raises:
        Invalid: there is no such flavor.
    """
    name = request.get("flavor")
    if name is None:
        return dict(request)
    if not isinstance(name, str) or name not in flavors:
        known = ", ".join(sorted(flavors)) or "no flavors at all (vm_flavors of the inventory)"
        raise Invalid([f"flavor {shown(name)} is none of {known}"])
    given = {key: value for key, value in request.items() if value is not None}
    return {**flavors[name], **given}
