# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
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


PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# They act on hosts, and on AWX, by their inventory and roles, whose variables the roles describe.
FOR_HOSTS = {"site", "preflight", "make_secrets", "renew_certificates", "configure_awx", "lab_up", "lab_down"}
# As plugins/module_utils/variables.py describes them.
KEYS = {"type", "required", "default", "choices", "description", "min", "max", "unit", "secret"}
TYPES = {"str", "label", "int", "count", "size", "float", "bool", "list", "dict", "yaml", "path"}
FOR_USERS = [path for path in PLAYBOOKS if path.stem not in FOR_HOSTS]


def first_play(playbook: Path) -> dict[str, Any]:
    plays: list[dict[str, Any]] = yaml.safe_load(playbook.read_text())
    return plays[0]


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_says_what_it_does_and_shows_how(playbook: Path) -> None:
    header = playbook.read_text().partition("\n\n- name:")[0]
    assert re.search(rf"^# +ansible-playbook .*{playbook.name}", header, re.MULTILINE)


@pytest.mark.parametrize("playbook", FOR_USERS, ids=lambda path: path.stem)
def test_every_variable_of_a_user_playbook_is_described_and_read(playbook: Path) -> None:
    variables = first_play(playbook)["vars"]["__variables"]
    for name, variable in variables.items():
        assert set(variable) <= KEYS, name
        assert variable.get("type", "str") in TYPES, name
        assert variable["description"].endswith("."), name
    included = " ".join(path.read_text() for path in (ROOT / "playbooks" / "tasks").glob("*.yml"))
    text = playbook.read_text() + included
    whole = re.search(r"(request|__changes): \"{{ __request }}", playbook.read_text())
    assert [name for name in variables if not whole and not re.search(rf"__request\.{name}\b", text)] == []
    assert first_play(playbook)["vars"]["__request"] == "{{ lookup('virtfleet.cloud.request') }}"


def test_every_tag_of_site_is_in_the_guide() -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text())
    tagged = [part for play in plays for part in [play, *play.get("roles", []), *play.get("tasks", [])]]
    tags = {tag for part in tagged for tag in part.get("tags", [])} - {"always"}
    guide = (ROOT / "docs" / "deploy.md").read_text()
    assert [tag for tag in sorted(tags) if f"| `{tag}` |" not in guide] == []


def test_the_document_has_every_test_on_the_lab_and_says_which_are_left_out() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tests" / "lab").glob("test_*.py")}
    text = (ROOT / "docs" / "tests.md").read_text()
    assert set(re.findall(r"^\| `(test_\w+\.py)` \|", text, re.MULTILINE)) == set(files)
    left_out = re.search(r"marked slow: all of (.+?), and some tests of (.+?`)\. ", text, re.DOTALL)
    assert left_out
    whole, partly = (set(re.findall(r"`(test_\w+\.py)`", names)) for names in left_out.groups())
    assert whole == {name for name, source in files.items() if "\npytestmark = pytest.mark.slow" in source}
    assert partly == {name for name, source in files.items() if "\n@pytest.mark.slow" in source}
