# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin as Ansible loads it, over a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Backend
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request

ROOT = Path(__file__).resolve().parents[3]
READER = "reader-secret-3"

Sql = Callable[..., list[tuple[Any, ...]]]


class Inventory:
    """An inventory's file that reads the registry as the reading role."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.file = folder / "test.virtfleet.yml"
        self.options: dict[str, Any] = {
            "plugin": "virtfleet.cloud.vm_registry", "host": settings.host, "port": settings.port,
            "password_file": "password", "ca_file": settings.ca_file,
        }  # fmt: skip
        (folder / "password").write_text(f"{READER}\n")

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of Ansible's with the inventory, which has these options on top."""
        self.file.write_text(yaml.safe_dump(self.options | options))
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        }
        return subprocess.run(
            [*command, "-i", str(self.file)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def load(self, **options: Any) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
        """The variables of the hosts, and the hosts of the groups, by name."""
        done = self.run("ansible-inventory", "--list", **options)
        assert done.returncode == 0, done.stderr
        listed = json.loads(done.stdout, object_hook=_plain)
        hosts = listed.pop("_meta")["hostvars"]
        return hosts, {name: sorted(group["hosts"]) for name, group in listed.items() if group.get("hosts")}


def _plain(value: dict[str, Any]) -> Any:
    """Text that ansible-inventory marks as no template is shown as a mapping."""
    return value.get("__ansible_unsafe", value)


@pytest.fixture
def inventory(settings: Settings, sql: Sql, tmp_path: Path) -> Inventory:
    sql(f"ALTER ROLE virtfleet_ro PASSWORD '{READER}'")
    return Inventory(tmp_path, settings)


@pytest.fixture
def fleet(registry: Registry) -> Registry:
    """Two VMs, one of which runs and has an address."""
    requests: list[dict[str, Any]] = [
        {"name": "web-1", "tags": ["web", "a.b"], "project": "shop", "guest_user": "ann", "node": "n1"},
        {"name": "db-1", "node": "n2"},
    ]
    for request in requests:
        name = request["name"]
        claim = registry.claim_new(parse_request(request), "ann@desk", 60)
        registry.record(Record(name, claim.lease or "", "running" if name == "web-1" else "stopped"), "ann@desk")
    (web,) = registry.vms({"name": "web-1"})
    registry.refresh(Seen([Domain("n1", "web-1", web["id"], "running", "192.0.2.7")]), "timer")
    return registry


def test_hosts_have_their_variables_and_groups(inventory: Inventory, fleet: Registry) -> None:
    hosts, groups = inventory.load(ssh_common_args="-J {node} -o X={node_address}")
    web, vm = hosts["web-1"], fleet.vms({"name": "web-1"})[0]
    same = ("id", "mac", "created_at", "memory_mib", "vcpus", "disk_gib", "image", "node", "project", "protected")
    assert {key: web[f"vm_{key}"] for key in same} == {key: vm[key] for key in same}
    assert (web["ansible_host"], web["ansible_user"], web["vm_tags"]) == ("192.0.2.7", "ann", ["web", "a.b"])
    assert web["ansible_ssh_common_args"] == "-J n1 -o X=10.0.0.1"
    assert "ansible_host" not in hosts["db-1"]
    assert groups == {
        "image_debian_13": ["db-1", "web-1"], "node_n1": ["web-1"], "node_n2": ["db-1"], "project_default": ["db-1"],
        "project_shop": ["web-1"], "state_running": ["web-1"], "state_stopped": ["db-1"], "tag_a_b": ["web-1"],
        "tag_web": ["web-1"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"states": ["running"]}, {"web-1"}),
        ({"projects": ["default", "other"]}, {"db-1"}),
        ({"nodes": ["n1", "n2"]}, {"db-1", "web-1"}),
        ({"tags": ["a.b", "none"]}, {"web-1"}),
        ({"tags": ["web"], "nodes": ["n2"]}, set()),
        ({"tags": ["'; DROP TABLE virtfleet.vm; --"]}, set()),
    ],
)
def test_filters(inventory: Inventory, fleet: Registry, filters: dict[str, list[str]], names: set[str]) -> None:
    assert set(inventory.load(**filters)[0]) == names


def test_what_users_add(inventory: Inventory, fleet: Registry) -> None:
    hosts, groups = inventory.load(
        compose={"size": "vm_memory_mib * 2"},
        groups={"mine": "vm_guest_user == 'ann'"},
        keyed_groups=[{"prefix": "cpus", "key": "vm_vcpus | string"}],
        strict=True,
    )
    assert hosts["web-1"]["size"] == 2048
    assert (groups["mine"], groups["cpus_1"]) == (["web-1"], ["db-1", "web-1"])


def test_braces_are_no_templates(inventory: Inventory, fleet: Registry, sql: Sql) -> None:
    evil = "{{ lookup('env', 'HOME') }} 'ö\"; {% if %}"
    sql("UPDATE vm SET tags = ARRAY[%s], project = %s WHERE name = 'db-1'", evil, evil)
    done = inventory.run("ansible", "db-1", "-m", "ansible.builtin.debug", "-a", "var=[vm_project,vm_tags]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("{{ lookup(") == 2, done.stdout


@pytest.mark.parametrize("wrong", [{"port": 1}, {"password": "wrong"}, {"ca_file": "password"}])
def test_no_database_is_an_error_and_no_empty_inventory(
    inventory: Inventory, fleet: Registry, wrong: dict[str, Any]
) -> None:
    done = inventory.run("ansible-inventory", "--list", **wrong)
    assert done.returncode != 0 and "The registry could not be read" in done.stderr
    assert READER not in done.stdout + done.stderr


def test_the_reading_role_writes_nothing(inventory: Inventory, settings: Settings) -> None:
    place = Settings(settings.host, "virtfleet_ro", READER, settings.ca_file, settings.port)
    with Registry(place, pytest.fail) as reader, pytest.raises(Backend, match="permission denied"):
        reader.put_node("n3", {"address": "10.0.0.3", "vcpus": 1, "memory_mib": 1024})


def test_the_cache_is_asked_before_the_registry_until_it_is_too_old(
    inventory: Inventory, fleet: Registry, sql: Sql, tmp_path: Path
) -> None:
    kept = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    assert len(inventory.load(**kept)[0]) == 2
    assert len(inventory.load(**kept, port=1)[0]) == 2
    assert READER not in "".join(file.read_text() for file in (tmp_path / "cache").iterdir())
    time.sleep(1)
    old = kept | {"cache_timeout": 1}
    failed = inventory.run("ansible-inventory", "--list", **old, port=1)
    assert failed.returncode != 0 and "The registry could not be read" in failed.stderr
    stale = inventory.run("ansible-inventory", "--list", **old, port=1, use_stale_on_error=True)
    assert stale.returncode == 0, stale.stderr
    assert "web-1" in stale.stdout and "is taken instead" in stale.stderr
    sql("UPDATE vm SET state = 'deleted' WHERE name = 'db-1'")
    assert set(inventory.load(**old)[0]) == {"web-1"}


def test_each_filter_has_its_own_cache(inventory: Inventory, fleet: Registry, tmp_path: Path) -> None:
    kept = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    assert set(inventory.load(**kept, nodes=["n1"])[0]) == {"web-1"}
    assert set(inventory.load(**kept, nodes=["n2"])[0]) == {"db-1"}


def test_texts_are_exported_as_texts(inventory: Inventory, fleet: Registry) -> None:
    """AWX keeps what is exported, and shows it to its clients."""
    done = inventory.run("ansible-inventory", "--list", "--export")
    assert done.returncode == 0, done.stderr
    assert "vm_state" in done.stdout and "__ansible_unsafe" not in done.stdout
