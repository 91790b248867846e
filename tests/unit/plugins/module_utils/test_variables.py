# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Misspelt and missing variables are named, each with what is meant."""

from __future__ import annotations

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.variables import refuse_wrong

KNOWN = {
    "name": {"required": True, "description": "The VM."},
    "ram": {"description": "Memory."},
    "how": {"choices": ["wipe", "lock"]},
}


@pytest.mark.parametrize(
    ("given", "extra", "problems"),
    [
        ({"name": "a"}, ["name"], ()),
        ({"name": "a", "how": "lock"}, ["name"], ()),
        ({"name": "a", "how": "burn"}, ["name"], ("how 'burn' is none of wipe, lock",)),
        ({"name": "a"}, ["name", "awx_job_id", "ansible_user", "registry_host", "vm_flavors", "lab_name", "__x"], ()),
        (
            {"name": "a"},
            ["name", "rams", "zzz"],
            (
                "there is no variable rams, the nearest is ram",
                "there is no variable zzz; there are name, ram, how",
            ),
        ),
        (
            {},
            ["nam"],
            ("there is no variable nam, the nearest is name", "variable name is missing (The VM)"),
        ),
    ],
)
def test_wrong_names(given: dict[str, str], extra: list[str], problems: tuple[str, ...]) -> None:
    if problems:
        with pytest.raises(Invalid) as refused:
            refuse_wrong(KNOWN, given, extra)
        assert refused.value.problems == problems
    else:
        refuse_wrong(KNOWN, given, extra)
