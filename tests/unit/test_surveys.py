# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The surveys of AWX ask what the playbooks take: both are made from one description, and refuse the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.virtfleet.cloud.plugins.module_utils import bulk
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid
from ansible_collections.virtfleet.cloud.plugins.module_utils.field_reader import FieldReader, name_problem
from ansible_collections.virtfleet.cloud.plugins.module_utils.nic import read_nics
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_disks, read_request
from ansible_collections.virtfleet.cloud.plugins.module_utils.survey import template_name
from ansible_collections.virtfleet.cloud.plugins.module_utils.variables import RESULTS, refuse_wrong
from ansible_collections.virtfleet.cloud.plugins.plugin_utils.user_playbooks import templates

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
Template = dict[str, Any]


TEMPLATES: list[Template] = templates(PLAYBOOKS)

each_template = pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one["playbook"])


def questions(template: Template) -> list[Template]:
    asked: list[Template] = template["survey"].get("spec", [])
    return asked


def play_vars(playbook: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(playbook.read_text())[0]["vars"]
    return values


def test_every_user_playbook_has_a_template() -> None:
    described = {file.name: play_vars(file) for file in PLAYBOOKS.glob("*.yml") if "__variables:" in file.read_text()}
    for_awx = {name for name, values in described.items() if values.get("__template") is not False}
    assert {one["playbook"] for one in TEMPLATES} == for_awx
    names = [one["name"] for one in TEMPLATES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("playbook", "name"),
    [
        ("create_vm", "Create VM"),
        ("create_vms", "Create VMs"),
        ("vm_history", "VM history"),
        ("set_quota", "Set quota"),
    ],
)
def test_what_a_template_is_called(playbook: str, name: str) -> None:
    assert template_name(playbook) == name


@each_template
def test_every_variable_is_asked_for_but_files_of_the_controller(template: Template) -> None:
    wanted = {name for name, variable in template["variables"].items() if variable.get("type") != "path"}
    assert [question["variable"] for question in questions(template)] == [
        name for name in template["variables"] if name in wanted
    ]
    assert template["description"]


# What AWX 24.6.1 takes as a question of a survey.
TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "textarea": str,
    "password": str,
    "multiplechoice": str,
    "integer": int,
    "float": (float, int),
}


@each_template
def test_awx_takes_the_question(template: Template) -> None:
    for question in questions(template):
        assert isinstance(question["question_name"], str) and isinstance(question["question_description"], str)
        assert isinstance(question["required"], bool)
        assert question["type"] in TYPES
        for limit in ("min", "max"):
            assert isinstance(question.get(limit, 0), int)
        if question["type"] == "multiplechoice":
            assert all(isinstance(choice, str) for choice in question["choices"])
            assert question.get("default", question["choices"][0]) in question["choices"]
        if "default" in question:
            assert isinstance(question["default"], TYPES[question["type"]])
            # A default is none for a question that has to be answered, and one that AWX would refuse is left out.
            assert not question["required"] and takes(question, question["default"])


@each_template
def test_awx_takes_the_survey(template: Template) -> None:
    survey = template["survey"]
    # One without questions is refused.
    assert survey == {} or (set(survey) == {"name", "description", "spec"} and survey["spec"])


def takes(question: Template, answer: Any) -> bool:
    """Whether AWX 24.6.1 takes this answer: nothing is converted, and of texts only the length is looked at."""
    if question["type"] == "multiplechoice":
        return answer in question["choices"]
    if question["type"] in ("integer", "float"):
        size = answer
        kinds = (int,) if question["type"] == "integer" else (int, float)
        fits = isinstance(answer, kinds) and not isinstance(answer, bool)
    else:
        size = len(answer) if isinstance(answer, str) else 0
        fits = isinstance(answer, str)
    return fits and question.get("min", size) <= size <= question.get("max", size)


# Who reads the numbers that the play leaves to be read with the rest.
def read_vm(name: str, value: Any) -> bool:
    return not read_request({"name": "a", "ram": 64, name: value})[1]


def read_count(_name: str, value: Any) -> bool:
    try:
        bulk.expand({"count": value, "prefix": "a"})
    except Invalid:
        return False
    return True


def read_size(_name: str, value: Any) -> bool:
    try:
        parse_disks([{"name": "data", "size": value}])
    except Invalid:
        return False
    return True


def read_vlan(name: str, value: Any) -> bool:
    return not read_nics([{"bridge": "br0", name: value}])[1]


def read_quota(name: str, value: Any) -> bool:
    reader = FieldReader({name: value})
    reader.count(name, 0, (0, 10**9))
    return not reader.problems


READERS: dict[tuple[str, str], Callable[[str, Any], bool]] = {
    ("create_vms.yml", "count"): read_count,
    ("attach_disk.yml", "size"): read_size,
    ("set_subnet.yml", "vlan"): read_vlan,
    **{("set_quota.yml", name): read_quota for name in ("vms", "cpu", "ram", "disk")},
}


def play_takes(template: Template, name: str, value: Any) -> bool:
    """Whether the play takes this value for a variable, or who it gives it to."""
    variable = template["variables"][name]
    if variable.get("type") in ("count", "size"):
        return READERS.get((template["playbook"], name), read_vm)(name, value)
    if variable.get("type") == "label":
        return name_problem(value) is None
    try:
        refuse_wrong({name: variable}, {name: value}, [name])
    except Invalid:
        return False
    return True


def answers(question: Template) -> Iterator[Any]:
    """Answers at the edges of what AWX takes, on both sides."""
    yield from question.get("choices", ())
    yield from [question["default"]] if "default" in question else []
    if question["type"] == "multiplechoice":
        yield "something else"
    for limit, beyond in (("min", -1), ("max", 1)):
        if limit in question:
            edge = question[limit]
            is_text = question["type"] in ("text", "textarea")
            yield from ("a" * edge, "a" * max(edge + beyond, 0)) if is_text else (edge, edge + beyond)


@each_template
def test_awx_and_the_play_refuse_the_same(template: Template) -> None:
    for question in questions(template):
        name = question["variable"]
        if question["type"] == "text" and template["variables"][name].get("type") != "label":
            # That a text must not be empty is all that AWX can tell.
            continue
        for answer in answers(question):
            assert takes(question, answer) == play_takes(template, name, answer), answer


@each_template
def test_numbers_have_the_limits_of_who_reads_them(template: Template) -> None:
    for question in questions(template):
        variable = template["variables"][question["variable"]]
        if variable.get("type") in ("count", "size"):
            assert "min" in question
            assert ("max" in question) == (template["playbook"] != "set_quota.yml")


class Read(dict[str, Any]):
    """A request that knows what was read of it."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)


@each_template
def test_what_describes_a_vm_has_no_default_to_fill_in(template: Template) -> None:
    """The registry compares a VM that is there with what was given this time, which is not what AWX filled in."""
    request = Read(name="a")
    read_request(request)
    assert {"ram", "image", "protected", "placement"} <= request.names
    if template["playbook"] in ("create_vm.yml", "create_vms.yml", "clone_vm.yml", "resize_vm.yml", "reseed_vm.yml"):
        defaults = {name for name, variable in template["variables"].items() if "default" in variable}
        assert defaults & {*request.names, "flavor"} == set()


@each_template
def test_what_may_hold_secrets_is_hidden_in_jobs(template: Template) -> None:
    for question in questions(template):
        assert (question["variable"] == "user_data") == (question["type"] == "password")


def made_results(value: Any) -> Iterator[str]:
    """The artifacts that tasks set."""
    if isinstance(value, dict):
        yield from value.get("ansible.builtin.set_stats", {}).get("data", {})
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from made_results(inner)


def tells_of_failures(task: dict[str, Any]) -> bool:
    """Whether all that a task does is in a block whose rescue reports the failure, or in files whose tasks are."""
    rescued = any("report_failure.yml" in str(step) for step in task.get("rescue", []))
    shared = task.get("ansible.builtin.import_tasks", "")
    return rescued or (bool(shared) and all(map(tells_of_failures, yaml.safe_load((PLAYBOOKS / shared).read_text()))))


@each_template
def test_every_playbook_tells_programs_what_came_of_it_and_what_went_wrong(template: Template) -> None:
    text = (PLAYBOOKS / template["playbook"]).read_text()
    plays = yaml.safe_load(text)
    # What nodes fail with is told by the last play, on localhost.
    telling = [play for play in plays if play["hosts"] == "localhost"] or plays
    tasks = [task for play in telling for task in play["tasks"]]
    assert tasks and [task["name"] for task in tasks if not tells_of_failures(task)] == []
    for shared in ("change_vm.yml", "change_snapshots.yml"):
        if f"tasks/{shared}" in text:
            text += (PLAYBOOKS / "tasks" / shared).read_text()
    assert "tell_vm.yml" in text or "ansible.builtin.set_stats" in text


def test_results_pass_to_the_next_job_of_a_workflow() -> None:
    files = [*PLAYBOOKS.glob("*.yml"), *(PLAYBOOKS / "tasks").glob("*.yml")]
    made = {name for file in files for name in made_results(yaml.safe_load(file.read_text()))}
    assert made == set(RESULTS)
