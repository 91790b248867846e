# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lookup that reads what is in AWX."""

from __future__ import annotations

DOCUMENTATION = r"""
name: awx_there
short_description: Read what is in an organization of AWX, and what its teams may do
version_added: 0.1.0
description:
  - C(awx.awx) asks AWX some fifteen times about each job template, and twice about each grant. This asks once for
    all of a kind, and once for each job template's survey, so that only what differs is left to C(awx.awx).
author: Contributors to virtfleet.cloud (@virtfleet)
options:
  _terms:
    description: Names of organizations; of one that is not there, there is nothing.
    type: list
    elements: str
    required: true
  url:
    description: URL of AWX.
    type: str
    required: true
  token:
    description: OAuth2 token; without one, O(user) and O(password) are used.
    type: str
    default: ""
  user:
    description: Who asks.
    type: str
    default: ""
  password:
    description: Password of O(user).
    type: str
    default: ""
  ca_file:
    description: File of the certificates that vouch for AWX; without one, those of the system do.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what is there
  ansible.builtin.debug:
    msg: "{{ lookup('virtfleet.cloud.awx_there', 'Default', url=awx_url, token=awx_token) }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping for each organization. C(credentials), C(inventories), C(job_templates), C(labels), C(teams),
      C(workflow_job_templates) and C(workflow_job_template_nodes) are lists of what AWX's API answers
      (U(https://ansible.readthedocs.io/projects/awx/en/24.6.1/rest_api/)). C(credential_types) and C(schedules), which
      belong to no organization, are those of all.
    - Each job template has C(survey_spec) besides, and each team the list C(roles).
  type: list
  elements: dict
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.errors import AnsibleLookupError
from ansible.module_utils.urls import open_url
from ansible.plugins.lookup import LookupBase

_PAGE = 200
_SECONDS = 60
_AT_ONCE = 4
# What a list is narrowed down to; {} is the organization.
_LISTS = {
    "credential_types": {"managed": "false"},
    "credentials": {"organization__name": "{}"},
    "inventories": {"organization__name": "{}"},
    "job_templates": {"organization__name": "{}"},
    "labels": {"organization__name": "{}"},
    "schedules": {},
    "teams": {"organization__name": "{}"},
    "workflow_job_template_nodes": {"workflow_job_template__organization__name": "{}"},
    "workflow_job_templates": {"organization__name": "{}"},
}


class LookupModule(LookupBase):
    """Asks AWX."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
        """What is in each of the organizations."""
        self.set_options(var_options=variables, direct=options)
        return [self._organization(term) for term in terms]

    def _organization(self, name: str) -> dict[str, Any]:
        there = {
            kind: list(self._pages(kind, **{field: value.format(name) for field, value in only.items()}))
            for kind, only in _LISTS.items()
        }
        surveys = [template["related"]["survey_spec"] for template in there["job_templates"]]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for template, survey in zip(there["job_templates"], pool.map(self._ask, surveys), strict=True):
                template["survey_spec"] = survey
        for team in there["teams"]:
            team["roles"] = list(self._pages(f"teams/{team['id']}/roles"))
        return there

    def _pages(self, kind: str, **only: str) -> Iterator[dict[str, Any]]:
        """What a list of AWX has, page by page."""
        following: str | None = f"/api/v2/{kind}/?{urlencode({**only, 'page_size': _PAGE})}"
        while following:
            page = self._ask(following)
            yield from page["results"]
            following = page["next"]

    def _ask(self, path: str) -> Any:
        token = self.get_option("token")
        try:
            with open_url(
                self.get_option("url").rstrip("/") + path,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                url_username=None if token else self.get_option("user"),
                url_password=None if token else self.get_option("password"),
                force_basic_auth=not token,
                ca_path=self.get_option("ca_file") or None,
                timeout=_SECONDS,
            ) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise AnsibleLookupError(f"AWX answered {error.code} to GET {path}: {error.reason}") from None
        except (URLError, OSError, ValueError) as error:
            raise AnsibleLookupError(f"AWX at {self.get_option('url')} did not answer GET {path}: {error}") from None
