# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The execution environment has what the controller's side of the collection imports and calls."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
# What runs where Ansible runs; modules run on the nodes, whose packages the roles install.
ON_THE_CONTROLLER = ("action", "filter", "inventory", "lookup", "plugin_utils")
# Who brings a module that is not called like its package.
PACKAGES = {"psycopg2": "psycopg2-binary"} | dict.fromkeys(
    ("ansible", "cryptography", "jinja2", "yaml"), "ansible-core"
)


def read(*names: str) -> Any:
    return yaml.safe_load(ROOT.joinpath(*names).read_text())


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """How far up, and the name, of everything that a file imports, also within its functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""
            # from ..module_utils import registry_rows
            yield from ((node.level, f"{node.module}.{alias.name}") for alias in node.names if node.level)


def reached(files: list[Path]) -> set[Path]:
    """These files, and those of the collection that they import, and so on."""
    found: set[Path] = set()
    while files:
        file = files.pop()
        if file in found:
            continue
        found.add(file)
        for level, name in imports(file):
            if level:
                base = file.parents[level - 1]
                target = base.joinpath(*name.split(".")).with_suffix(".py")
                files += [target] if target.exists() else []
    return found


def python_packages() -> set[str]:
    """What is installed, without versions."""
    environment = read("execution-environment.yml")
    collection = read("meta", "execution-environment.yml")["dependencies"]
    lines = (ROOT / collection["python"]).read_text().splitlines() + environment["dependencies"]["python"]
    core = environment["dependencies"]["ansible_core"]["package_pip"]
    names = (re.match(r"[\w.-]+", line) for line in [*lines, core])
    return {name[0] for name in names if name}


def test_every_import_of_the_controllers_side_is_installed() -> None:
    files = reached([file for part in ON_THE_CONTROLLER for file in (PLUGINS / part).glob("*.py")])
    assert PLUGINS / "module_utils" / "registry_connection.py" in files
    wanted = {name.split(".")[0] for file in files for level, name in imports(file) if not level}
    foreign = wanted - set(sys.stdlib_module_names)
    assert {"psycopg2", "redis", "ansible", "yaml"} <= foreign
    assert {PACKAGES.get(name, name) for name in foreign} <= python_packages()


def test_filters_that_need_a_package_have_it() -> None:
    text = "".join(file.read_text() for part in ("playbooks", "roles") for file in (ROOT / part).rglob("*.yml"))
    assert ("json_query" not in text) or "jmespath" in python_packages()


def test_every_collection_that_playbooks_for_users_and_role_awx_call_is_a_dependency() -> None:
    files = [*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "playbooks" / "tasks").glob("*.yml")]
    files += [*(ROOT / "roles" / "awx" / "tasks").glob("*.yml"), *(ROOT / "roles" / "image" / "tasks").glob("*.yml")]
    called = {
        ".".join(name.split(".")[:2])
        for file in files
        for name in re.findall(r"^ +(?:- )?(\w+\.\w+\.\w+):", file.read_text(), re.MULTILINE)
    }
    assert called - {"ansible.builtin", "virtfleet.cloud"} <= set(read("galaxy.yml")["dependencies"])


def test_the_image_has_this_version_of_the_collection() -> None:
    environment, galaxy = read("execution-environment.yml"), read("galaxy.yml")
    archive = f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz"
    (build_file,) = environment["additional_build_files"]
    (collection,) = environment["dependencies"]["galaxy"]["collections"]
    assert Path(build_file["src"]).name == archive
    assert collection == {"name": f"{build_file['dest']}/{archive}", "type": "file"}


def test_the_collection_says_what_its_controller_needs_of_the_system() -> None:
    system = (ROOT / read("meta", "execution-environment.yml")["dependencies"]["system"]).read_text()
    assert {"openssh-clients", "openssh-client", "rsync"} <= set(re.findall(r"^[\w-]+", system, re.MULTILINE))
