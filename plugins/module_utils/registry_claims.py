# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a claim is, and how those of new VMs are made within a transaction of the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import registry_projects as projects
from . import registry_restore as restores
from . import registry_rows as rows
from . import registry_seeds as seeds
from .errors import Conflict, VirtfleetError
from .registry_change import Change
from .registry_insert import NewVm, insert_all
from .registry_nodes import Room
from .spec import VmSpec


@dataclass(frozen=True, slots=True)
class Claim:
    """A VM that is reserved for the caller. `needed` is False where there is nothing to do; then there is no lease.

    `target` is the node that it moves to, `request` what create_vm.yml would have to be given to make it, and `record`
    what is kept with its volume.
    """

    vm: dict[str, Any]
    node: dict[str, str]
    needed: bool
    change: Change
    resume: bool = False
    lease: str | None = None
    target: dict[str, str] | None = None
    request: dict[str, Any] | None = None
    record: dict[str, Any] | None = None


def claimed(cursor: Any, name: str, lease: str, before: Mapping[str, Any], resume: bool = False) -> Claim:
    """The claim of a VM that was leased; `before` is its row as it was, empty where there was none."""
    row = rows.existing(cursor, name)
    change = Change(rows.view(before) if before else {}, rows.view(row))
    request = restores.request_of(row)
    record = restores.record_of(row)
    node = rows.node(cursor, row["node"])
    return Claim(rows.shown(row), node, True, change, resume, lease, request=request, record=record)


def nothing_to_do(cursor: Any, row: Mapping[str, Any]) -> Claim:
    """The claim of a VM that is as it should be."""
    same = Change(rows.view(row), rows.view(row))
    return Claim(rows.shown(row), rows.node(cursor, row["node"]), needed=False, change=same)


class NewClaims:
    """Claims of new VMs in one transaction; what is the same for all is read once, and they are written at once."""

    def __init__(self, cursor: Any, room: Room, actor: str, lease_seconds: int) -> None:
        self._cursor = cursor
        self._room = room
        self._actor = actor
        self._lease_seconds = lease_seconds
        self._images = rows.images(cursor)
        self._quotas = projects.quotas(cursor)
        self._there: dict[str, dict[str, Any]] = {}
        self._new: dict[str, NewVm] = {}
        self._claims: dict[str, Claim] = {}

    def claim(self, spec: VmSpec, problems: Sequence[str]) -> Claim:
        """The claim of one; reads and refuses first, so that a refusal leaves nothing written."""
        self._there = rows.find_all(self._cursor, [] if problems else [spec.name])
        self._decide(spec, problems)
        self._write()
        return self._claims[spec.name]

    def claim_all(
        self, requests: Sequence[tuple[VmSpec, Sequence[str]]]
    ) -> tuple[list[Claim], dict[str, VirtfleetError]]:
        """The claims of many in their order, and the refusals by name."""
        self._there = rows.find_all(self._cursor, [spec.name for spec, problems in requests if not problems])
        refused = {}
        for spec, problems in requests:
            try:
                self._decide(spec, problems)
            except VirtfleetError as error:
                refused[spec.name] = error
        self._write()
        return [self._claims[spec.name] for spec, _problems in requests if spec.name in self._claims], refused

    def _decide(self, spec: VmSpec, problems: Sequence[str]) -> None:
        if spec.name in self._new or spec.name in self._claims:
            raise Conflict(f"VM {spec.name} was asked for twice", "Give each name once.")
        there = None if problems else self._there.get(spec.name)
        if there is not None:
            self._claims[spec.name] = self._claim_again(there, spec)
            return
        if spec.networks or spec.project in self._quotas:
            self._write()  # These look at what the others have.
        spec = rows.refuse_unknown(self._cursor, spec, self._room.names, self._images, problems)
        projects.refuse_over_quota(self._cursor, spec, known=self._quotas)
        self._new[spec.name] = NewVm(spec, self._room.choose(spec))

    def _write(self) -> None:
        if not self._new:
            return
        for row, lease in insert_all(self._cursor, list(self._new.values()), self._actor, self._lease_seconds):
            change, record = Change({}, rows.view(row)), restores.record_of(row)
            node = self._room.node(row["node"])
            self._claims[row["name"]] = Claim(rows.shown(row), node, True, change, lease=lease, record=record)
        self._new = {}

    def _claim_again(self, row: dict[str, Any], spec: VmSpec) -> Claim:
        rows.refuse_leased(row)
        rows.refuse_half_deleted(row)
        differences = rows.other_source(row, spec) + rows.differences(row, spec)
        if differences:
            raise Conflict(
                f"VM {spec.name} is there and differs from what was asked for",
                "Leave these values out to keep it as it is, change them by resize_vm.yml, attach_disk.yml or"
                " reseed_vm.yml, or choose another name.",
                differences,
            )
        if row["made"]:
            return nothing_to_do(self._cursor, row)
        seeds.refuse_other(row, spec)
        lease = rows.take_lease(self._cursor, row["id"], self._actor, self._lease_seconds, "creating")
        rows.event(self._cursor, row["id"], self._actor, "create", {"resumed": True})
        return claimed(self._cursor, spec.name, lease, row, resume=True)
