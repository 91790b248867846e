# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask for, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import VmSpec, parse_request, with_flavor


def problems_of(**raw: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse_request(raw)
    return list(caught.value.problems)


def test_defaults_fill_what_is_not_given() -> None:
    spec = parse_request({"name": "test-1", "ram": None})
    expected = VmSpec("test-1", "default", 1024, 1, 10, "debian-13", given=frozenset({"name"}))
    assert spec == replace(expected, memory_max_mib=1024, vcpus_max=1)


@pytest.mark.parametrize(
    ("disks", "problem"),
    [
        ("data", "disks is not a list of mappings (name, size, filesystem, mount, serial)"),
        ([{"name": "data"}], "disks: data: size None is not a size from 1 to 65536 GiB"),
        ([{"name": "root", "size": 1}], "disks: root: name root is taken by a disk that every VM has"),
        ([{"name": "a/b", "size": 1}], "disks: a/b: name 'a/b' is not a DNS label"),
        ([{"name": "a", "size": 1}, {"name": "a", "size": 2, "serial": "x"}], "disks: name a is there twice"),
        ([{"name": "a", "size": 1, "serial": "b"}, {"name": "b", "size": 2}], "disks: serial b is there twice"),
        ([{"name": "a", "size": 1, "filesystem": "ntfs"}], "disks: a: filesystem 'ntfs' is none of ext4, xfs, btrfs"),
        ([{"name": "a", "size": 1, "mount": "/srv"}], "disks: a: mount needs a filesystem"),
        ([{"name": "a", "size": 1, "mount": "srv", "filesystem": "ext4"}], "mount 'srv' is not an absolute path"),
        ([{"name": "a", "size": 1, "sise": 1}], "disks: a: there is no sise"),
    ],
)
def test_data_disks_that_cannot_be(disks: Any, problem: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_request({"name": "a", "disks": disks})
    assert problem in str(refused.value)


def test_data_disks_have_a_serial_to_be_found_by() -> None:
    (disk,) = parse_request({"name": "a", "disks": [{"name": "a-rather-long-name-for-it", "size": "2TiB"}]}).disks
    assert (disk.serial, disk.size_gib) == ("a-rather-long-name-f", 2048)


def test_a_flavor_is_what_is_not_given() -> None:
    flavors = {"small": {"ram": 512, "cpu": 1, "disk": 5}}
    assert with_flavor({"flavor": "small", "ram": 768, "cpu": None}, flavors) == {
        "flavor": "small", "ram": 768, "cpu": 1, "disk": 5,
    }  # fmt: skip
    assert with_flavor({"ram": 1}, flavors) == {"ram": 1}
    for wrong in ("big", ["small"]):
        with pytest.raises(Invalid, match="is none of small"):
            with_flavor({"flavor": wrong}, flavors)


def test_maxima_are_at_least_what_is_asked_for() -> None:
    spec = parse_request({"name": "a", "ram": 512, "ram_max": "2GiB", "cpu": 2, "cpu_max": 4})
    assert (spec.memory_mib, spec.memory_max_mib, spec.vcpus, spec.vcpus_max) == (512, 2048, 2, 4)
    with pytest.raises(Invalid) as refused:
        parse_request({"name": "a", "ram": 512, "ram_max": 256, "cpu": 2, "cpu_max": 1})
    assert [problem.split()[0] for problem in refused.value.problems] == ["ram_max", "cpu_max"]


@pytest.mark.parametrize("name", ["a", "a1", "1a", "web-01", "x" * 63])
def test_dns_labels_are_names(name: str) -> None:
    assert parse_request({"name": name}).name == name


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "x" * 64,
        "Test",
        "../x",
        "a b",
        "$(reboot)",
        "{{ 7*7 }}",
        "<x>",
        "é",
        "-a",
        "a-",
        "a.b",
        "a_b",
        "a\n",
        7,
        ["a"],
    ],
)
def test_everything_else_is_no_name(name: object) -> None:
    (problem,) = problems_of(name=name)
    assert "not a DNS label" in problem


@pytest.mark.parametrize(
    ("given", "mib"),
    [(1024, 1024), ("1024", 1024), ("2GiB", 2048), ("2 GiB", 2048), ("1TiB", 1048576), ("512MiB", 512)],
)
def test_memory_in_every_unit(given: object, mib: int) -> None:
    assert parse_request({"name": "a", "ram": given}).memory_mib == mib


@pytest.mark.parametrize(("given", "gib"), [(10, 10), ("10", 10), ("10GiB", 10), ("2048MiB", 2), ("1TiB", 1024)])
def test_disk_in_every_unit(given: object, gib: int) -> None:
    assert parse_request({"name": "a", "disk": given}).disk_gib == gib


@pytest.mark.parametrize("field", ["ram", "cpu", "disk"])
@pytest.mark.parametrize(
    "value", [0, -1, "-1", 1.5, "1.5", "", "many", True, "9" * 13, 10**9, "1e3", "10GB", "0x10", "٣", [1]]
)
def test_sizes_that_are_none(field: str, value: object) -> None:
    (problem,) = problems_of(name="a", **{field: value})
    assert problem.startswith(field)


def test_a_disk_of_half_a_gib_is_refused() -> None:
    assert problems_of(name="a", disk="1536MiB")


def test_all_problems_are_in_one_error() -> None:
    found = problems_of(
        name="A", ram=0, cpu="x", disk=-1, image="a b", project="P", node="-", tags=["a b"], user_data="x"
    )
    assert [problem.split()[0] for problem in found] == [
        "name", "project", "ram", "cpu", "disk", "image", "node", "tags", "user_data",
    ]  # fmt: skip


@pytest.mark.parametrize("node", ["node-1", "node-1.example.org", "Node_1"])
def test_a_node_has_the_name_of_a_host(node: str) -> None:
    assert parse_request({"name": "a", "node": node}).node == node


def test_user_data_is_neither_shown_nor_kept_in_repr() -> None:
    spec = parse_request({"name": "a", "user_data": {"password": "canary-1"}})
    assert "canary-1" not in repr(spec)
    assert "canary-2" not in "".join(problems_of(name="a", user_data="canary-2"))


def test_user_data_digest_does_not_depend_on_order() -> None:
    one = parse_request({"name": "a", "user_data": {"a": 1, "b": 2}})
    two = parse_request({"name": "a", "user_data": {"b": 2, "a": 1}})
    assert one.user_data_sha256 == two.user_data_sha256 != parse_request({"name": "a"}).user_data_sha256


def test_keys_must_be_public_keys() -> None:
    assert problems_of(name="a", ssh_authorized_keys=["-----BEGIN OPENSSH PRIVATE KEY-----"])
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me@here"
    assert parse_request({"name": "a", "ssh_authorized_keys": key}).ssh_authorized_keys == (key,)
