# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What holds for every input, not only for the examples of the other files."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from ansible_collections.virtfleet.cloud.plugins.module_utils import cloud_init
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid, VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.placement import place
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import (
    DISK_GIB,
    MEMORY_MIB,
    VCPUS,
    parse_request,
    read_request,
)
from hypothesis import given
from hypothesis import strategies as st

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "name", "project", "ram", "cpu", "disk", "image", "node", "tags", "ssh_authorized_keys", "user_data",
)  # fmt: skip
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(raw=st.dictionaries(st.sampled_from(FIELDS), JUNK))
def test_every_request_is_read_or_refused_and_what_is_read_is_within_limits(raw: dict[str, Any]) -> None:
    spec, problems = read_request(raw)
    if problems:
        with pytest.raises(Invalid):
            parse_request(raw)
        return
    assert re.fullmatch("[a-z0-9-]{1,63}", spec.name)
    assert MEMORY_MIB[0] <= spec.memory_mib <= MEMORY_MIB[1]
    assert VCPUS[0] <= spec.vcpus <= VCPUS[1]
    assert DISK_GIB[0] <= spec.disk_gib <= DISK_GIB[1]


@given(name=st.text(max_size=70))
def test_a_name_is_a_dns_label_or_refused(name: str) -> None:
    label = re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) is not None and name.isascii()
    assert (read_request({"name": name})[1] == []) is label


def ours() -> dict[str, Any]:
    """The user-data of a VM whose user gave none."""
    text = cloud_init.documents(parse_request({"name": "a"}), "instance")["user-data"]
    return dict(json.loads(text.split("\n", 1)[1]))


@given(name=NAMES, user_data=st.dictionaries(st.text(), JSON, max_size=4))
def test_user_data_arrives_as_data_whatever_it_holds(name: str, user_data: dict[str, Any]) -> None:
    spec = parse_request({"name": name, "user_data": user_data})
    text = cloud_init.documents(spec, "instance")["user-data"]
    header, document = text.split("\n", 1)
    arrived = json.loads(document)
    assert header == "#cloud-config"
    assert yaml.safe_load(document) == arrived
    assert all(arrived[key] == value for key, value in user_data.items() if key not in ours())


@given(
    wanted=st.tuples(st.integers(64, 8192), st.integers(1, 64)),
    capacity=st.lists(
        st.tuples(
            st.sampled_from(["active", "cordoned", "down"]), st.integers(1, 16), st.integers(64, 8192),
            st.integers(0, 64), st.integers(0, 8192),
        ),
        max_size=5,
    ),
)  # fmt: skip
def test_a_vm_is_put_where_there_is_most_room_or_every_node_says_why_not(
    wanted: tuple[int, int], capacity: list[tuple[str, int, int, int, int]]
) -> None:
    keys = ("state", "vcpus", "memory_mib", "used_vcpus", "used_memory_mib")
    rest = {"labels": {}, "group_vms": 0, "placed_at": 0.0, "cpu_overcommit": 8.0, "memory_overcommit": 1.0}
    nodes = [{"name": f"n{n}", **rest, **dict(zip(keys, row, strict=True))} for n, row in enumerate(capacity)]
    spec = parse_request({"name": "a", "ram": wanted[0], "cpu": wanted[1]})

    def free(node: dict[str, Any]) -> int:
        return int(node["memory_mib"] - node["used_memory_mib"])

    def fits(node: dict[str, Any]) -> bool:
        vcpus = node["vcpus"] * 8 - node["used_vcpus"]
        return node["state"] == "active" and free(node) >= wanted[0] and vcpus >= wanted[1]

    fitting = [node for node in nodes if fits(node)]
    try:
        node = dict(place(spec, nodes))
    except VirtfleetError as error:
        assert (error.code, len(error.problems), fitting) == ("no_capacity", len(nodes), [])
        return
    assert node in fitting
    assert free(node) == max(map(free, fitting))
