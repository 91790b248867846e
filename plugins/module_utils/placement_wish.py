# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks of the node that a VM is put on. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .field_reader import FieldReader, name_problem, shown

STRATEGIES = ("least_loaded", "round_robin", "packed")

_LABEL_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class PlacementWish:
    """Where a VM is to go.

    Attributes:
        strategy: least_loaded takes the node with the most free memory, then virtual CPUs; packed that with the least
            that is still enough; round_robin the one that was chosen the longest ago.
        group: the anti-affinity group; its VMs go to different nodes.
        hard: rather to no node at all than to one that has a VM of the group.
        labels: what the labels of the node have to be.
    """

    strategy: str = STRATEGIES[0]
    group: str | None = None
    hard: bool = True
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def anti_affinity(self) -> dict[str, Any] | None:
        """The group as the registry and results hold it."""
        return None if self.group is None else {"group": self.group, "hard": self.hard}

    def as_request(self) -> dict[str, Any]:
        """The variables of create_vm.yml that ask for this, as the registry keeps them."""
        return {
            "placement": self.strategy,
            "anti_affinity": self.anti_affinity,
            "node_labels": dict(self.labels) or None,
        }


ANYWHERE = PlacementWish()


def read_wish(reader: FieldReader) -> PlacementWish:
    """Read placement, anti_affinity and node_labels; the reader gathers what is wrong with them."""
    group, hard = _group(reader)
    return PlacementWish(
        strategy=reader.choice("placement", STRATEGIES) or STRATEGIES[0],
        group=group,
        hard=hard,
        labels=read_labels(reader, "node_labels"),
    )


def _group(reader: FieldReader) -> tuple[str | None, bool]:
    """A group by its name alone is a hard one."""
    value = reader.value("anti_affinity", None)
    if value is None:
        return None, True
    asked = value if isinstance(value, Mapping) else {"group": value}
    inner = FieldReader(asked)
    problem = name_problem(asked.get("group"), "group")
    hard = inner.flag("hard") if asked.get("hard") is not None else True
    unknown = [f"there is no {key}" for key in sorted(set(asked) - {"group", "hard"})]
    problems = [*([problem] if problem else []), *inner.problems, *unknown]
    reader.problems += [f"anti_affinity: {text}" for text in problems]
    return (None, True) if problems else (str(asked["group"]), hard)


def read_labels(reader: FieldReader, key: str) -> tuple[tuple[str, str], ...]:
    """Read a mapping of words to words."""
    value = reader.value(key, {})
    if not isinstance(value, Mapping):
        reader.problems.append(f"{key} is not a mapping of labels to their values")
        return ()
    for word in (*value, *value.values()):
        if not _LABEL_WORD.fullmatch(str(word)):
            reader.problems.append(f"{key} has {shown(word)}, which is not 1 to 63 of letters, digits and _ . / -")
    return tuple(sorted((str(label), str(wanted)) for label, wanted in value.items()))
