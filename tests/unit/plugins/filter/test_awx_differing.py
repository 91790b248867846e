# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What is left to awx.awx is what is not in AWX, or differs; the answers are as AWX 24.6.1 gave them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.filter.awx import (
    awx_differing,
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
    both = {"job_templates": ["List VMs", "New"], "workflows": ["Create VM"]}
    assert awx_missing_grants(
        [{"team": "viewers", "role": "read", **both}, {"team": "operators", "role": "execute", **both}], THERE
    ) == [
        {"team": "viewers", "role": "read", "job_templates": ["New"], "workflows": ["Create VM"]},
        {"team": "operators", "role": "execute", **both},
    ]


def test_a_template_of_the_same_name_in_another_organization_is_another() -> None:
    of_another = [{"name": "viewers", "roles": [role("Read", job_template="/api/v2/job_templates/70/")]}]
    grant = {"team": "viewers", "role": "read", "job_templates": ["List VMs"]}
    assert awx_missing_grants([grant], THERE | {"teams": of_another}) == [grant]
