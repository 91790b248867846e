# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that find what is to be made in AWX, by what AWX answered about all that is there.

C(awx.awx) asks AWX some fifteen times about each job template, and twice about each grant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

JobTemplate = dict[str, Any]
# By what M(awx.awx.role) calls them, the collections of AWX's API.
_COLLECTIONS = {
    "job_templates": "job_templates",
    "workflows": "workflow_job_templates",
    "inventories": "inventories",
}


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


def awx_differing(wanted: Iterable[JobTemplate], answers: Iterable[Mapping[str, Any]]) -> list[JobTemplate]:
    """Those of the job templates that are not in AWX, or not like this."""
    there = {answer["name"]: _as_wanted(answer) for answer in answers}
    return [
        template
        for template in wanted
        if any(there.get(template["name"], {}).get(field) != value for field, value in template.items())
    ]


def _as_wanted(answer: Mapping[str, Any]) -> JobTemplate:
    """A job template as AWX describes it, with the names of what it refers to."""
    summary = answer["summary_fields"]
    return {
        **answer,
        **{
            field: summary.get(field, {}).get("name")
            for field in ("organization", "project", "inventory", "execution_environment")
        },
        "credentials": sorted(credential["name"] for credential in summary.get("credentials", [])),
        "labels": sorted(label["name"] for label in summary.get("labels", {}).get("results", [])),
    }


def awx_missing_grants(
    grants: Iterable[Mapping[str, Any]],
    there: Mapping[str, Iterable[Mapping[str, Any]]],
) -> list[dict[str, Any]]:
    """The grants with only what the teams may not do already; without those of which nothing is left."""
    urls = {(kind, one["name"]): one["url"] for kind in _COLLECTIONS.values() for one in there[kind]}
    rights = {
        (team["name"], role["name"].lower(), url)
        for team in there["teams"]
        for role in team["roles"]
        for url in role["related"].values()
    }
    missing = []
    for grant in grants:
        left = {
            kind: [
                name
                for name in grant[kind]
                if (grant["team"], grant["role"], urls.get((collection, name))) not in rights
            ]
            for kind, collection in _COLLECTIONS.items()
            if kind in grant
        }
        if any(left.values()):
            missing.append({"team": grant["team"], "role": grant["role"], **{k: v for k, v in left.items() if v}})
    return missing


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "awx_job_templates": awx_job_templates,
            "awx_differing": awx_differing,
            "awx_missing_grants": awx_missing_grants,
        }
