# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What a user asks of the guest's first boot becomes one cloud-config."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.cloud_config import requested_cloud_config
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid


def test_nothing_asked_for_is_nothing() -> None:
    assert requested_cloud_config({"name": "a", "packages": None}) is None
    assert requested_cloud_config({"user_data": "a: 1"}) == {"a": 1}


def test_wishes_come_first_and_the_own_cloud_config_is_on_top() -> None:
    assert requested_cloud_config(
        {
            "packages": ["nginx", "libc6=2.36-9+deb12u4"],
            "timezone": "Europe/Berlin",
            "files": [{"path": "/etc/motd", "content": "hello\n", "permissions": "0644"}],
            "commands": ["systemctl reload nginx", ["touch", "/a b"]],
            "user_data": "timezone: UTC\npackages: [jq]\nruncmd: [reboot]",
        }
    ) == {
        "package_update": True,
        "packages": ["nginx", "libc6=2.36-9+deb12u4", "jq"],
        "timezone": "UTC",
        "write_files": [{"path": "/etc/motd", "content": "hello\n", "permissions": "0644", "defer": True}],
        "runcmd": ["systemctl reload nginx", ["touch", "/a b"], "reboot"],
    }


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({"packages": ["a b"]}, "packages is not a list of names"),
        ({"packages": {"a": 1}}, "packages is not a list of names"),
        ({"packages": ["--allow"]}, "packages is not a list of names"),
        ({"timezone": "../etc"}, "timezone '../etc' is no name"),
        ({"files": {"path": "/a"}}, "files is not a list of mappings"),
        ({"files": [{"path": "a", "content": ""}]}, "files: path 'a' is not absolute"),
        ({"files": [{"path": "/a"}]}, "files: /a: content is not text"),
        ({"files": [{"path": "/a", "content": "", "mode": 1}]}, "files: /a: there is no mode"),
        ({"files": [{"path": "/a", "content": "", "permissions": 9}]}, "permissions 9 are not like '0644'"),
        ({"commands": {"a": 1}}, "commands is not a list of commands"),
        ({"user_data": "["}, "user_data is not valid YAML"),
    ],
)
def test_wishes_that_cannot_be(request_: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as refused:
        requested_cloud_config({"timezone": "UTC", **request_})
    assert problem in str(refused.value)


def test_all_problems_are_told_and_no_contents() -> None:
    with pytest.raises(Invalid) as refused:
        requested_cloud_config(
            {"packages": 1, "commands": 1, "files": [{"path": "x", "content": "canary"}], "user_data": "canary: ["}
        )
    assert len(refused.value.problems) == 4 and "canary" not in str(refused.value)
