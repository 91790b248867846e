# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Misspelt and missing variables are named, each with what is meant."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.variables import refuse_wrong

KNOWN = {
    "name": {"required": True, "description": "The VM."},
    "ram": {"description": "Memory."},
    "how": {"choices": ["wipe", "lock"]},
    "wait": {"type": "bool"},
    "timeout": {"type": "int", "min": 1},
    "share": {"type": "float", "min": 0, "max": 1},
}


@pytest.mark.parametrize(
    ("given", "extra", "problems"),
    [
        ({"name": "a"}, ["name"], ()),
        ({"name": "a", "how": "lock"}, ["name"], ()),
        ({"name": "a", "how": "burn"}, ["name"], ("how 'burn' is none of wipe, lock",)),
        ({"name": "a"}, ["name", "awx_job_id", "ansible_user", "registry_host", "vm_flavors", "lab_name", "__x"], ()),
        ({"name": "a", "wait": "yes", "timeout": "60", "share": "0.5"}, ["name"], ()),
        ({"name": "a", "wait": False, "timeout": 1, "share": 1}, ["name"], ()),
        (
            {"name": ["a"], "wait": "ture", "timeout": 0, "share": 2},
            ["name"],
            (
                "name ['a'] is not a text",
                "wait 'ture' is neither true nor false",
                "timeout 0 is not a whole number of at least 1",
                "share 2 is not a number from 0 to 1",
            ),
        ),
        ({"name": "a", "timeout": "1m"}, ["name"], ("timeout '1m' is not a whole number of at least 1",)),
        # The results of the job before it in a workflow.
        ({"name": "a"}, ["name", "awx_job_id", "vm", "changes"], ()),
        ({"name": "a"}, ["name", "changes"], ("there is no variable changes; there are " + ", ".join(KNOWN),)),
        (
            {"name": "a"},
            ["name", "rams", "zzz"],
            (
                "there is no variable rams, the nearest is ram",
                "there is no variable zzz; there are name, ram, how, wait, timeout, share",
            ),
        ),
        (
            {},
            ["nam"],
            ("there is no variable nam, the nearest is name", "variable name is missing (The VM)"),
        ),
    ],
)
def test_what_is_wrong_is_refused(given: dict[str, Any], extra: list[str], problems: tuple[str, ...]) -> None:
    if problems:
        with pytest.raises(Invalid) as refused:
            refuse_wrong(KNOWN, given, extra)
        assert refused.value.problems == problems
    else:
        refuse_wrong(KNOWN, given, extra)
