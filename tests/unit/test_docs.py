# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import CODES

ROOT = Path(__file__).resolve().parents[2]


def test_every_error_code_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    assert tuple(rows) == CODES


def test_the_readme_names_every_dependency_and_why() -> None:
    readme = (ROOT / "README.md").read_text()
    for file in ("requirements.txt", "requirements-dev.txt"):
        names = re.findall(r"^([\w-]+)>=", (ROOT / file).read_text(), re.MULTILINE)
        assert [name for name in names if f"`{name}`" not in readme] == []


def test_every_playbook_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in (ROOT / "playbooks").glob("*.yml") if f"`{path.name}`" not in readme] == []
