# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories that users begin with can be deployed, but for the secrets and devices that are theirs."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.virtfleet.cloud.plugins.module_utils.preflight_finding import GROUPS
from ansible_collections.virtfleet.cloud.plugins.module_utils.preflight_inventory import KUBERNETES, REQUIRED

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "inventories").glob("example*"))
# make_secrets.yml makes them.
SECRET = re.compile(r"_(password|key)$")
FROM_ANSIBLE = ("ansible_", "group_names", "inventory_", "hostvars", "groups", "role_path", "lookup", "omit")

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


def ansible(*command: str) -> str:
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def read(example: Path) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Its groups, and the variables of its hosts as Ansible sees them, their templates as they stand."""
    told = json.loads(ansible("ansible-inventory", "-i", str(example), "--list"))
    groups = {name: told.get(name, {}).get("hosts", []) for name in GROUPS}
    return groups, told["_meta"]["hostvars"]


def secrets() -> dict[str, str]:
    made = yaml.safe_load((ROOT / "roles" / "secrets" / "defaults" / "main.yml").read_text())["secrets_names"]
    return dict.fromkeys(made, "made-by-make_secrets.yml")


def chosen(example: Path) -> dict[str, str]:
    """What each user chooses for themselves, which an example can only name."""
    names = re.findall(r"^# (awx_\w+):", (example / "group_vars" / "all" / "main.yml").read_text(), re.MULTILINE)
    return dict.fromkeys(names, "chosen")


def test_these_are_there() -> None:
    assert [path.name for path in EXAMPLES] == ["example", "example-one-host", "example-separate-hosts"]


@each_example
def test_the_groups_are_those_of_the_roles(example: Path) -> None:
    children = yaml.safe_load((example / "hosts.yml").read_text())["all"]["children"]
    assert set(children) == set(GROUPS)


@each_example
def test_no_secret_is_in_it(example: Path) -> None:
    _groups, variables = read(example)
    assert {name for mine in variables.values() for name in mine if SECRET.search(name)} == set()


@each_example
def test_a_preflight_finds_no_mistake(example: Path) -> None:
    findings = "{{ groups | virtfleet.cloud.preflight_findings(hostvars, [], '') }}"
    arguments = ["-i", str(example), "-m", "ansible.builtin.debug", "-e", json.dumps(secrets() | chosen(example))]
    told = ansible("ansible", "localhost", *arguments, "-a", f"msg={findings}")
    assert re.search(r"msg: \[\]$", told, re.MULTILINE), told


@each_example
@pytest.mark.parametrize("where", ["localhost", "all"])
def test_the_controller_and_hosts_find_the_certificate(example: Path, where: str) -> None:
    """Playbooks for virtual machines run on the controller, which is no host of the inventory."""
    told = ansible(
        "ansible", where, "-i", str(example), "-m", "ansible.builtin.debug", "-a", "msg={{ registry_ca_file }}"
    )
    assert set(re.findall(r"msg: (.+)", told)) == {f"{example}/pki/ca.crt"}, told


@each_example
def test_what_awx_needs_is_named_where_there_is_one(example: Path) -> None:
    groups, _variables = read(example)
    needed = {name for name in (*REQUIRED["awx"], *KUBERNETES) if not SECRET.search(name)}
    assert set(chosen(example)) == (needed if groups["awx"] else set())


def plays() -> list[dict[str, Any]]:
    """Those of site.yml, with what it imports."""
    found: list[dict[str, Any]] = []
    for play in yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text()):
        imported = play.get("ansible.builtin.import_playbook")
        found += yaml.safe_load((ROOT / "playbooks" / imported).read_text()) if imported else [play]
    return found


@each_example
def test_every_variable_that_a_role_needs_is_set(example: Path) -> None:
    groups, variables = read(example)
    missing = set()
    for play in plays():
        for role, pattern in roles(play):
            hosts = {host for name in re.split("[:,]", pattern) for host in groups.get(name, [])}
            hosts = set(variables) if pattern == "all" else hosts
            for name in needed(ROOT / "roles" / role):
                missing |= {(host, role, name) for host in hosts if name not in variables[host]}
    assert missing == set()


def roles(play: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Those of a play, each with the groups that it is for, as a pattern of hosts."""
    for role in play.get("roles", []):
        yield role["role"].rpartition(".")[2], play["hosts"]
    for task in play.get("tasks", []):
        group = re.search(r"'(\w+)' in group_names|groups\.(\w+)", str(task.get("when", "")))
        for role in included(task):
            yield role["name"].rpartition(".")[2], group[1] or group[2] if group else play["hosts"]


def included(task: dict[str, Any]) -> list[dict[str, str]]:
    """The roles that a task includes or imports, by itself or by the file of tasks that it includes."""
    if "ansible.builtin.include_tasks" in task:
        file = ROOT / "playbooks" / task["ansible.builtin.include_tasks"]["file"]
        return [role for inner in yaml.safe_load(file.read_text()) for role in included(inner)]
    return [
        task[f"ansible.builtin.{verb}_role"] for verb in ("include", "import") if f"ansible.builtin.{verb}_role" in task
    ]


def test_the_roles_of_every_kind_of_play_are_seen() -> None:
    seen = {role for play in plays() for role, _pattern in roles(play)}
    assert {"pki", "ceph", "postgresql", "haproxy", "libvirt", "image", "manager", "grafana", "awx"} <= seen


def needed(role: Path) -> set[str]:
    """What a role's defaults take for granted, and its required arguments, without the secrets."""
    options = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    names = {name for name, option in options.items() if option.get("required")}
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    names |= set(re.findall(r"{{ ((?!__)[a-z_]+) }}", json.dumps(defaults))) - set(defaults)
    return {name for name in names if not SECRET.search(name) and not name.startswith(FROM_ANSIBLE)}


def test_a_missing_variable_is_noticed() -> None:
    assert {"registry_host", "registry_ca_file"} <= needed(ROOT / "roles" / "manager")
