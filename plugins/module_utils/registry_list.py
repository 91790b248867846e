# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VMs the registry lists: filters and pages, all of them in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import registry_rows as rows

# What a VM has to be, by the name of the filter.
_FILTERS = {
    "name": "name = %(name)s",
    "project": "project = %(project)s",
    "node": "node = %(node)s",
    "state": "state = %(state)s",
    "image": "(image = %(image)s OR image LIKE %(image_versions)s)",
    "tag": "tags @> ARRAY[%(tag)s]",
    "search": "name LIKE %(search)s",
    "after": "name > %(after)s",
}


def listed(cursor: Any, filters: Mapping[str, str | None], limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """The VMs that are not deleted and match every filter, by name.

    Args:
        filters: some of name, project, node, state, image (with all of its versions, or one of them), tag, search (a
            part of the name) and after (the name that the page before ended with).
        limit: how many at most; 0 is all.

    Returns:
        The VMs, and the name to go on after where there are more.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    values: dict[str, Any] = dict(given)
    if "search" in given:
        values["search"] = f"%{_literally(given['search'])}%"
    if "image" in given:
        values["image_versions"] = f"{_literally(given['image'])}:%"
    where = "".join(f" AND {_FILTERS[name]}" for name in given)
    # One more than asked for tells whether there are more.
    most = "" if limit == 0 else f" LIMIT {limit + 1:d}"
    cursor.execute(f"SELECT {rows.COLUMNS} FROM vm WHERE state <> 'deleted'{where} ORDER BY name{most}", values)
    found = [rows.shown(row) for row in cursor.fetchall()]
    if limit == 0 or len(found) <= limit:
        return found, None
    return found[:limit], str(found[limit - 1]["name"])


def _literally(text: str) -> str:
    """For LIKE, without its wildcards."""
    return text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
