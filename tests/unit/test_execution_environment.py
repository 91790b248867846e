# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The execution environment has what the controller's side of the collection imports and calls."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
BUILDER = (sys.executable, "-m", "ansible_builder")
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


def run(*arguments: str | Path, directory: Path) -> None:
    done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ansible-builder makes the image of, and beside it what it finds that the collection asks for."""
    directory = tmp_path_factory.mktemp("image")
    shutil.copy(ROOT / "execution-environment.yml", directory)
    archives = directory / ".cache" / "collection"
    run("ansible-galaxy", "collection", "build", ROOT, "--output-path", archives, directory=directory)
    run(*BUILDER, "create", "--context", "context", directory=directory)
    (archive,) = (directory / "context" / "_build" / "collection").glob("*.tar.gz")
    collections = directory / "ansible_collections"
    inside = collections / "virtfleet" / "cloud"
    inside.mkdir(parents=True)
    shutil.unpack_archive(archive, inside)
    found = ["--write-pip", "context/pip.txt", "--write-bindep", "context/bindep.txt"]
    run(*BUILDER, "introspect", directory, *found, directory=directory)
    return directory / "context"


def names(text: str) -> set[str]:
    return {name[0] for name in (re.match(r"[\w.-]+", line) for line in text.splitlines()) if name}


def python_packages(context: Path) -> set[str]:
    """What is installed, without versions."""
    ansible = re.search(r'^ARG ANSIBLE_INSTALL_REFS="(.+)"$', (context / "Containerfile").read_text(), re.MULTILINE)
    assert ansible
    files = (context / "_build" / "requirements.txt", context / "pip.txt")
    return names("\n".join([*ansible[1].split(), *(file.read_text() for file in files)]))


def test_every_import_of_the_controllers_side_is_installed(context: Path) -> None:
    files = reached([file for part in ON_THE_CONTROLLER for file in (PLUGINS / part).glob("*.py")])
    assert PLUGINS / "module_utils" / "registry_connection.py" in files
    wanted = {name.split(".")[0] for file in files for level, name in imports(file) if not level}
    foreign = wanted - set(sys.stdlib_module_names)
    assert {"psycopg2", "redis", "ansible", "yaml"} <= foreign
    assert {PACKAGES.get(name, name) for name in foreign} <= python_packages(context)


def test_filters_that_need_a_package_have_it(context: Path) -> None:
    text = "".join(file.read_text() for part in ("playbooks", "roles") for file in (ROOT / part).rglob("*.yml"))
    assert ("json_query" not in text) or "jmespath" in python_packages(context)


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


def test_the_collection_says_what_its_controller_needs_of_the_system(context: Path) -> None:
    assert {"openssh-clients", "openssh-client", "rsync"} <= names((context / "bindep.txt").read_text())
