# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that find what is to be made in AWX, by what AWX answered about all that is there.

C(awx.awx) asks AWX some fifteen times about each job template, and twice about each grant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

JobTemplate = dict[str, Any]
# By what M(awx.awx.role) calls them, the collections of AWX's API.
_COLLECTIONS = {
    "job_templates": "job_templates",
    "workflows": "workflow_job_templates",
    "inventories": "inventories",
}
_REFERENCES = (
    "credential_type",
    "execution_environment",
    "inventory",
    "organization",
    "project",
    "unified_job_template",
)


def awx_job_templates(
    templates: Iterable[Mapping[str, Any]], common: Mapping[str, Any], one_at_a_time: Iterable[str]
) -> list[JobTemplate]:
    """Job templates of playbooks, by the names that the arguments of M(awx.awx.job_template) have."""
    alone = set(one_at_a_time)
    return [
        {
            **common,
            "name": template["name"],
            "description": template["description"],
            "playbook": f"playbooks/{template['playbook']}",
            "survey_enabled": bool(template["survey"]),
            "survey_spec": template["survey"],
            "allow_simultaneous": template["playbook"] not in alone,
        }
        for template in templates
    ]


def awx_differing(
    wanted: Iterable[Mapping[str, Any]],
    answers: Iterable[Mapping[str, Any]],
    called: Mapping[str, str] | None = None,
    unless_said: Mapping[str, Any] | None = None,
) -> list[Mapping[str, Any]]:
    """Those of the objects that are not in AWX, or not like this.

    ``called`` has the names in AWX's answers of fields that an object calls otherwise; ``unless_said`` has fields that
    are like this where an object says nothing of them.
    """
    names = called or {}
    there = [_by_names(answer) for answer in answers]
    return [
        one
        for one in wanted
        if not any(
            all(
                _is(answer.get(names.get(field, field)), value)
                for field, value in {**(unless_said or {}), **one}.items()
            )
            for answer in there
        )
    ]


def _is(there: Any, wanted: Any) -> bool:
    """Whether AWX has this. It never shows a secret, which is taken for the right one, as by awx.awx."""
    if isinstance(there, dict) and isinstance(wanted, Mapping):
        return there.keys() == wanted.keys() and all(_is(there[key], value) for key, value in wanted.items())
    return bool(there in (wanted, "$encrypted$"))


def _by_names(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What AWX answered of an object, with the names of what it refers to, and variables as a mapping."""
    summary = answer.get("summary_fields", {})
    return {
        **answer,
        **{field: summary.get(field, {}).get("name") for field in _REFERENCES},
        "credentials": sorted(credential["name"] for credential in summary.get("credentials", [])),
        "labels": sorted(label["name"] for label in summary.get("labels", {}).get("results", [])),
        "variables": _mapping(answer.get("variables")),
    }


def _mapping(text: Any) -> Any:
    """Variables that awx.awx wrote, which writes them as JSON; what somebody else wrote is left as it is."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def awx_differing_nodes(
    pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], answers: Iterable[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Those of the pairs of a workflow and one of its nodes whose node is not in AWX, or not like this."""
    found = list(answers)
    names = {answer["id"]: answer["identifier"] for answer in found}
    there = {}
    for answer in found:
        summary = answer["summary_fields"]
        runs = summary.get("unified_job_template", {})
        there[summary["workflow_job_template"]["name"], answer["identifier"]] = {
            "identifier": answer["identifier"],
            "template": runs.get("name"),
            "approval": {"name": runs.get("name"), "timeout": runs.get("timeout")},
            "answers": answer["extra_data"],
            "next": [names[node] for node in answer["success_nodes"]],
        }
    return [
        (workflow, node)
        for workflow, node in pairs
        if any(
            there.get((workflow["name"], node["identifier"]), {}).get(field) != value for field, value in node.items()
        )
    ]


def awx_missing_grants(
    grants: Iterable[Mapping[str, Any]],
    there: Mapping[str, Iterable[Mapping[str, Any]]],
    part: int = 12,
) -> list[dict[str, Any]]:
    """The grants with only what the teams may not do already, in parts of so many names of one kind."""
    urls = {(kind, one["name"]): one["url"] for kind in _COLLECTIONS.values() for one in there[kind]}
    rights = {
        (team["name"], role["name"].lower(), url)
        for team in there["teams"]
        for role in team["roles"]
        for url in role["related"].values()
    }
    parts = []
    for grant in grants:
        for kind, collection in _COLLECTIONS.items():
            left = [
                name
                for name in grant.get(kind, [])
                if (grant["team"], grant["role"], urls.get((collection, name))) not in rights
            ]
            parts += [
                {"team": grant["team"], "role": grant["role"], kind: left[start : start + part]}
                for start in range(0, len(left), part)
            ]
    return parts


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "awx_job_templates": awx_job_templates,
            "awx_differing": awx_differing,
            "awx_differing_nodes": awx_differing_nodes,
            "awx_missing_grants": awx_missing_grants,
        }
