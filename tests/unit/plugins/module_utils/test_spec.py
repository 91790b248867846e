# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask for, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import VmSpec, parse_request


def problems_of(**raw: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse_request(raw)
    return list(caught.value.problems)


def test_defaults_fill_what_is_not_given() -> None:
    spec = parse_request({"name": "test-1", "ram": None})
    assert spec == VmSpec("test-1", "default", 1024, 1, 10, "debian-13", given=frozenset({"name"}))


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
        name="A", ram=0, cpu="x", disk=-1, image="a b", project="P", node="N", tags=["a b"], user_data="x"
    )
    assert [problem.split()[0] for problem in found] == [
        "name", "project", "ram", "cpu", "disk", "image", "node", "tags", "user_data",
    ]  # fmt: skip


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
