# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What is left to awx.awx is what is not in AWX, or differs; the answers are as AWX 24.6.1 gave them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.filter.awx import (
    awx_differing,
    awx_differing_nodes,
    awx_job_templates,
    awx_missing_grants,
)

COMMON: dict[str, Any] = {
    "organization": "Default",
    "project": "virtfleet.cloud",
    "inventory": "virtfleet nodes",
    "execution_environment": "virtfleet.cloud",
    "credentials": ["nodes", "virtfleet registry"],
    "labels": ["virtfleet"],
    "job_type": "run",
}
SURVEY = {"name": "", "description": "", "spec": [{"variable": "name", "type": "text"}]}
PLAYBOOKS = [{"name": "List VMs", "description": "List them.", "playbook": "list_vms.yml", "survey": SURVEY}]


def answer(**differing: Any) -> dict[str, Any]:
    names = {field: {"id": 1, "name": COMMON[field]} for field in ("organization", "project", "inventory")}
    return {
        "id": 7,
        "name": "List VMs",
        "url": "/api/v2/job_templates/7/",
        "description": "List them.",
        "playbook": "playbooks/list_vms.yml",
        "project": 8,
        "inventory": 2,
        "organization": 1,
        "execution_environment": 4,
        "job_type": "run",
        "survey_enabled": True,
        "allow_simultaneous": True,
        "survey_spec": SURVEY,
        "summary_fields": {
            **names,
            "execution_environment": {"id": 4, "name": "virtfleet.cloud", "image": "e"},
            "labels": {"count": 1, "results": [{"id": 1, "name": "virtfleet"}]},
            "credentials": [{"id": 3, "name": "virtfleet registry"}, {"id": 2, "name": "nodes"}],
        },
    } | differing


def wanted(alone: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    return awx_job_templates(PLAYBOOKS, COMMON, alone)


def test_what_is_there_is_left_alone() -> None:
    assert awx_differing(wanted(), [answer()]) == []


def test_what_is_not_there_is_made() -> None:
    assert awx_differing(wanted(), [answer(name="Another")]) == wanted()


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Another"},
        {"playbook": "playbooks/delete_vm.yml"},
        {"survey_enabled": False},
        {"survey_spec": {}},
        {"allow_simultaneous": False},
        {"job_type": "check"},
        {"summary_fields": answer()["summary_fields"] | {"labels": {"count": 0, "results": []}}},
        {"summary_fields": answer()["summary_fields"] | {"credentials": []}},
        {"summary_fields": answer()["summary_fields"] | {"project": {"id": 9, "name": "of somebody else"}}},
        # Where what it refers to was deleted.
        {"summary_fields": {"labels": {"count": 0, "results": []}, "credentials": []}},
    ],
)
def test_what_differs_is_made_right(change: dict[str, Any]) -> None:
    assert awx_differing(wanted(), [answer(**change)]) == wanted()


def test_a_playbook_that_goes_alone_is_not_run_twice_at_once() -> None:
    assert not wanted(("list_vms.yml",))[0]["allow_simultaneous"]


SCHEDULE = {
    "name": "Purge",
    "rrule": "FREQ=DAILY",
    "enabled": True,
    "extra_data": {"older_than": 7},
    "summary_fields": {"unified_job_template": {"name": "Purge trash"}},
}
CALLED = {"template": "unified_job_template", "variables": "extra_data"}


@pytest.mark.parametrize(
    ("said", "there"),
    [
        ({"variables": {"older_than": 7}}, True),
        ({}, True),
        ({"enabled": False}, False),
        ({"variables": {"older_than": 8}}, False),
        ({"variables": {}}, False),
        ({"template": "Purge all"}, False),
    ],
)
def test_fields_that_are_called_otherwise_are_compared_too(said: dict[str, Any], there: bool) -> None:
    schedule = {"name": "Purge", "template": "Purge trash", "rrule": "FREQ=DAILY"} | said
    assert awx_differing([schedule], [SCHEDULE], CALLED, {"enabled": True}) == ([] if there else [schedule])


def test_what_an_object_says_nothing_of_is_as_it_should_be() -> None:
    schedule = {"name": "Purge"}
    assert awx_differing([schedule], [SCHEDULE | {"enabled": False}], CALLED, {"enabled": True}) == [schedule]


def test_one_of_the_same_name_elsewhere_is_not_taken_for_it() -> None:
    schedule = {"name": "Purge", "template": "Purge trash"}
    of_another = SCHEDULE | {"summary_fields": {"unified_job_template": {"name": "Another"}}}
    assert awx_differing([schedule], [of_another], CALLED) == [schedule]
    assert awx_differing([schedule], [SCHEDULE, of_another], CALLED) == []


def credential(**inputs: str) -> dict[str, Any]:
    return {"name": "registry", "credential_type": "Registry", "inputs": inputs}


def test_a_secret_that_awx_does_not_show_is_taken_for_the_right_one() -> None:
    kind: dict[str, Any] = {"credential_type": {"name": "Registry"}}
    there: dict[str, Any] = credential(host="db", password="$encrypted$") | {
        "summary_fields": kind,
        "credential_type": 3,
    }
    assert awx_differing([credential(host="db", password="x")], [there]) == []
    for other in (credential(host="db2", password="x"), credential(host="db")):
        assert awx_differing([other], [there]) == [other]


def test_variables_are_compared_by_their_meaning() -> None:
    inventory = {"name": "nodes", "variables": {"a": [1], "b": {}}}
    assert awx_differing([inventory], [{"name": "nodes", "variables": '{"b": {}, "a": [1]}'}]) == []
    for text in ('{"a": [1]}', "a: [1]", "", None):
        assert awx_differing([inventory], [{"name": "nodes", "variables": text}]) == [inventory]


WORKFLOW = {"name": "Delete VM after approval"}
NODES: list[dict[str, Any]] = [{"identifier": "delete", "template": "Delete VM"}]
NODES += [{"identifier": "approve", "approval": {"name": "Really", "timeout": 60}}]
PAIRS = [(WORKFLOW, node) for node in [*NODES, {"identifier": "approve", "next": ["delete"]}]]


def node(number: int, identifier: str, following: list[int], **runs: Any) -> dict[str, Any]:
    summary = {"workflow_job_template": WORKFLOW, "unified_job_template": runs}
    answered = {"id": number, "identifier": identifier, "extra_data": {}, "success_nodes": following}
    return {**answered, "summary_fields": summary}


DELETE = node(4, "delete", [], name="Delete VM")
APPROVE = node(5, "approve", [4], name="Really", timeout=60, unified_job_type="workflow_approval")


def test_nodes_of_a_workflow_that_are_there_are_left_alone() -> None:
    assert awx_differing_nodes(PAIRS, [DELETE, APPROVE]) == []


def test_nodes_of_a_workflow_that_differ_are_made_right() -> None:
    assert awx_differing_nodes(PAIRS, []) == PAIRS
    assert awx_differing_nodes(PAIRS, [node(4, "delete", [], name="Show VM"), APPROVE]) == PAIRS[:1]
    assert awx_differing_nodes(PAIRS, [DELETE, node(5, "approve", [4], name="Really", timeout=9)]) == PAIRS[1:2]
    assert awx_differing_nodes(PAIRS, [DELETE, node(5, "approve", [], name="Really", timeout=60)]) == PAIRS[2:]
    # Whose template was deleted.
    assert awx_differing_nodes(PAIRS, [node(4, "delete", []), APPROVE]) == PAIRS[:1]


def role(name: str, **related: str) -> dict[str, Any]:
    return {"name": name, "related": {"users": "/api/v2/roles/5/users/", **related}}


THERE = {
    "job_templates": [answer()],
    "workflow_job_templates": [{"name": "Create VM", "url": "/api/v2/workflow_job_templates/9/"}],
    "inventories": [{"name": "nodes", "url": "/api/v2/inventories/2/"}],
    "teams": [
        {
            "name": "viewers",
            "roles": [
                role("Read", job_template="/api/v2/job_templates/7/"),
                role("Read", inventory="/api/v2/inventories/2/"),
            ],
        },
        {"name": "operators", "roles": [role("Read", job_template="/api/v2/job_templates/7/")]},
    ],
}


def test_what_a_team_may_do_is_not_granted_again() -> None:
    held = [
        {"team": "viewers", "role": "read", "job_templates": ["List VMs"]},
        {"team": "viewers", "role": "read", "inventories": ["nodes"]},
    ]
    assert awx_missing_grants(held, THERE) == []


def test_what_a_team_may_not_do_yet_is_granted() -> None:
    both: dict[str, Any] = {"job_templates": ["List VMs", "New"], "workflows": ["Create VM"]}
    viewers: dict[str, Any] = {"team": "viewers", "role": "read"}
    operators: dict[str, Any] = {"team": "operators", "role": "execute"}
    assert awx_missing_grants([viewers | both, operators | both], THERE) == [
        viewers | {"job_templates": ["New"]},
        viewers | {"workflows": ["Create VM"]},
        operators | {"job_templates": ["List VMs", "New"]},
        operators | {"workflows": ["Create VM"]},
    ]


def test_many_grants_come_in_parts() -> None:
    grant = {"team": "viewers", "role": "read", "job_templates": ["a", "b", "c", "d", "e"]}
    parts = awx_missing_grants([grant], THERE, part=2)
    assert [part["job_templates"] for part in parts] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_template_of_the_same_name_in_another_organization_is_another() -> None:
    of_another = [{"name": "viewers", "roles": [role("Read", job_template="/api/v2/job_templates/70/")]}]
    grant = {"team": "viewers", "role": "read", "job_templates": ["List VMs"]}
    assert awx_missing_grants([grant], THERE | {"teams": of_another}) == [grant]
