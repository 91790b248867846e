# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role promises: its defaults, its argument specs and its README say the same, and its names are its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
TYPES: dict[str, type] = {"str": str, "path": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def options(role: Path) -> dict[str, dict[str, Any]]:
    return read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


def made_names(value: Any) -> Iterator[str]:
    """The variables that tasks make: by register, set_fact, vars (not for another role) and the variable of a loop."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("register", "loop_var", "index_var"):
                yield inner
            elif key == "vars" and "ansible.builtin.include_role" in value:
                continue
            elif key in ("ansible.builtin.set_fact", "vars"):
                yield from inner
            yield from made_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from made_names(inner)


@each_role
def test_defaults_and_argument_specs_agree(role: Path) -> None:
    specified = {name: option["default"] for name, option in options(role).items()}
    assert specified == read(role / "defaults" / "main.yml")


@each_role
def test_defaults_have_the_type_of_their_specification(role: Path) -> None:
    for name, option in options(role).items():
        default = option["default"]
        template = isinstance(default, str) and "{{" in default
        # True is an int to Python, and is none to Ansible.
        fits = isinstance(default, TYPES[option["type"]]) and isinstance(default, bool) is (option["type"] == "bool")
        assert template or fits, name
        assert template or default in option.get("choices", [default]), name
        assert option["type"] != "list" or "elements" in option, name


@each_role
def test_every_variable_is_described(role: Path) -> None:
    for name, option in options(role).items():
        assert option["description"], name


@each_role
def test_secrets_are_marked(role: Path) -> None:
    for name, option in options(role).items():
        if name.endswith(("_password", "_key")):
            assert option.get("no_log") is True, name


@each_role
def test_public_names_begin_with_the_role(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


@each_role
def test_internal_names_begin_with_two_underscores_and_the_role(role: Path) -> None:
    names = set(read(role / "vars" / "main.yml") or {}) if (role / "vars" / "main.yml").exists() else set()
    for part in ("tasks", "handlers"):
        for file in (role / part).glob("*.yml"):
            names |= set(made_names(read(file)))
    assert {name for name in names if not name.startswith(f"__{role.name}_")} == set()


def test_readmes_show_the_variables() -> None:
    run = [sys.executable, str(ROOT / "scripts" / "role-tables.py"), "--check"]
    check = subprocess.run(run, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr + "\nrun: python3 scripts/role-tables.py"
