# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Role awx: what it renders is what awx-operator takes, and what it makes in AWX fits together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.virtfleet.cloud.plugins.filter.awx import awx_job_templates
from ansible_collections.virtfleet.cloud.plugins.plugin_utils.user_playbooks import templates

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "awx"
TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
TEMPLATES = templates(ROOT / "playbooks")
SETTINGS = {
    "awx_namespace": "awx",
    "awx_admin_user": "admin",
    "awx_admin_password": 'a"b',
    "awx_secret_key": "k",
    "awx_database": {"host": "192.0.2.5", "port": 5432, "name": "awx", "user": "awx"},
    "awx_database_password": "p",
    "__awx_ca": "-----BEGIN CERTIFICATE-----\n",
    "awx_replicas": 2,
    "awx_port": 8052,
    "awx_execution_environment_image": "registry.example.org/virtfleet:1",
    "awx_images": {"image": "registry.example.org/awx", "image_version": "24.6.1"},
    "awx_proxies": ["192.0.2.8"],
    "awx_url": "https://cloud.example.org",
    "awx_backup": "monday",
}


class Loader(yaml.SafeLoader):
    """Knows what Ansible leaves alone."""


def as_it_is(loader: Loader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


Loader.add_constructor("!unsafe", as_it_is)


def read(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader)


def rendered(template: str, **settings: Any) -> list[dict[str, Any]]:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["to_json"] = json.dumps
    environment.filters["regex_search"] = lambda text, pattern: (re.findall(pattern, text) or [None])[0]
    text = (ROLE / "templates" / template).read_text()
    return list(yaml.safe_load_all(environment.from_string(text).render(**SETTINGS | settings)))


@pytest.mark.parametrize("template", ["awx.yml.j2", "backup.yml.j2", "restore.yml.j2"])
def test_the_operator_takes_what_is_rendered(template: str) -> None:
    schema = read(ROOT / "tests" / "unit" / "data" / "awx-operator-2.19.1.yml")
    resource = rendered(template)[-1]
    assert resource["apiVersion"] == "awx.ansible.com/v1beta1"
    fields = schema[resource["kind"]]
    kinds = {name: kind for kind, names in fields["types"].items() for name in names}
    assert set(fields["required"]) <= set(resource["spec"])
    for name, value in resource["spec"].items():
        assert isinstance(value, TYPES[kinds[name]]), name
        assert isinstance(value, bool) is (TYPES[kinds[name]] is bool), name
        assert value in fields["choices"].get(name, [value]), name


def test_awx_names_the_secrets_that_are_rendered() -> None:
    *secrets, awx = rendered("awx.yml.j2")
    named = {value for name, value in awx["spec"].items() if name.endswith("_secret")}
    assert named == {secret["metadata"]["name"] for secret in secrets}
    assert secrets[0]["stringData"]["password"] == 'a"b'
    database = next(secret["stringData"] for secret in secrets if "sslmode" in secret["stringData"])
    # All are texts, as Kubernetes takes nothing else.
    assert all(isinstance(value, str) for value in database.values())
    assert (database["type"], database["port"], database["sslmode"]) == ("unmanaged", "5432", "verify-ca")


def test_callers_are_who_the_proxies_say_they_are() -> None:
    settings = {one["setting"]: one["value"] for one in rendered("awx.yml.j2")[-1]["spec"]["extra_settings"]}
    assert yaml.safe_load(settings["REMOTE_HOST_HEADERS"])[0] == "HTTP_X_FORWARDED_FOR"
    assert yaml.safe_load(settings["PROXY_IP_ALLOWED_LIST"]) == ["192.0.2.8"]


@pytest.mark.parametrize(
    ("url", "origins"),
    [
        ("https://cloud.example.org/", "['https://cloud.example.org']"),
        ("http://192.0.2.8:8052", "['http://192.0.2.8:8052']"),
        ("", None),
    ],
)
def test_origins_are_a_scheme_and_a_host_or_not_said(url: str, origins: str | None) -> None:
    settings = {
        one["setting"]: one["value"] for one in rendered("awx.yml.j2", awx_url=url)[-1]["spec"]["extra_settings"]
    }
    assert settings.get("CSRF_TRUSTED_ORIGINS") == origins


def test_job_templates_get_all_that_is_compared() -> None:
    task = next(task for task in read(ROLE / "tasks" / "job_templates.yml") if "awx.awx.job_template" in task)
    common = read(ROLE / "vars" / "main.yml")["__awx_of_all_templates"]
    compared = set(awx_job_templates(TEMPLATES, common, ())[0])
    arguments = task["awx.awx.job_template"]
    assert set(arguments) == compared
    assert all(f"item.{name}" in value for name, value in arguments.items())


def credential_types() -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in read(ROLE / "vars" / "credential_types.yml")["__awx_credential_types"]}


def test_credentials_have_the_fields_of_their_types() -> None:
    types = credential_types()
    credentials = read(ROLE / "vars" / "main.yml")["__awx_credentials"]
    assert {one["credential_type"] for one in credentials} == set(types)
    for one in credentials:
        inputs = types[one["credential_type"]]["inputs"]
        fields = {field["id"]: field for field in inputs["fields"]}
        assert set(inputs["required"]) <= set(one["inputs"]) == set(fields)
        assert all(fields[name].get("secret") for name in fields if name.endswith("password"))


def test_credentials_inject_what_the_plays_read() -> None:
    types = credential_types()
    reader = (ROOT / "plugins" / "plugin_utils" / "registry_action.py").read_text()
    assert set(types["virtfleet registry"]["injectors"]["extra_vars"]) == set(re.findall(r'"(registry_\w+)"', reader))
    plugin = (ROOT / "plugins" / "inventory" / "vm_registry.py").read_text()
    asked = set(re.findall(r"- name: (VIRTFLEET_\w+)", plugin))
    assert set(types["virtfleet registry, reading"]["injectors"]["env"]) == asked
    for one in types.values():
        fields = {field["id"] for field in one["inputs"]["fields"]}
        text = json.dumps(one["injectors"])
        assert set(re.findall(r"{{ (\w+) }}", text)) | {"ca"} == fields


def test_what_is_said_of_playbooks_is_said_of_some_that_are_there() -> None:
    playbooks = {one["playbook"] for one in TEMPLATES}
    defaults, internal = read(ROLE / "defaults" / "main.yml"), read(ROLE / "vars" / "main.yml")
    assert set(defaults["awx_admin_playbooks"]) <= playbooks
    assert set(internal["__awx_one_at_a_time"]) <= playbooks
    names = {one["name"] for one in TEMPLATES}
    nodes = [node for kind in ("create", "delete") for node in internal[f"__awx_{kind}_nodes"]]
    launched = {node["template"] for node in nodes if "{{" not in node.get("template", "{{")}
    assert launched == {"Create VM", "Delete VM"} <= names
    for schedule in defaults["awx_schedules"]:
        assert schedule["template"] in {*names, internal["__awx_vms_source"]}
        # What AWX wants of a rule beyond RFC 5545.
        assert re.fullmatch(r"DTSTART:\d{8}T\d{6}Z RRULE:FREQ=[A-Z]+;INTERVAL=\d+", schedule["rrule"])


def test_a_schedule_answers_what_its_template_asks() -> None:
    required = {
        one["name"]: {name for name, variable in one["variables"].items() if variable.get("required")}
        for one in TEMPLATES
    }
    for schedule in read(ROLE / "defaults" / "main.yml")["awx_schedules"]:
        assert required.get(schedule["template"], set()) <= set(schedule.get("variables", {}))
