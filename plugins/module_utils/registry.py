# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry in PostgreSQL: claims, leases and records of VMs. Runs on the controller only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import registry_history as history
from . import registry_list as lists
from . import registry_moves as moves
from . import registry_nodes as nodes
from . import registry_projects as projects
from . import registry_rebuild as rebuilding
from . import registry_reconcile as reconciling
from . import registry_restore as restores
from . import registry_rows as rows
from . import registry_seeds as seeds
from .errors import NotFound, VirtfleetError
from .field_reader import name_problem
from .placement import refuse_without_room
from .rebuild_plan import Known
from .reconcile_plan import Finding, compare, summary, unknown_domains
from .registry_cache import NodeCache
from .registry_catalog import RegistryCatalog
from .registry_change import Change
from .registry_claims import Claim, NewClaims, claimed, nothing_to_do
from .registry_connection import Settings
from .registry_nodes import Room
from .registry_rows import Record
from .seen import Seen
from .spec import Source, VmSpec, changed_request, cloned_request, parse_request, read_request

# What changes by itself, or by the guest, and is no sign of anything wrong.
_REFRESHED = ("wrong_state", "missing_address", "wrong_address")
_REFUSED_WHEN_PROTECTED = ("delete", "rollback")


class Registry(RegistryCatalog):
    """What is known of VMs, and of what they are made on; every method is one transaction. Use as a context manager.

    Args:
        warn: is told what went wrong with the cache, which never is an error.
        check: everything is decided as in a run, and rolled back.

    Raises (every method): what RegistryConnection does.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], None], check: bool = False) -> None:
        super().__init__(settings, check)
        self._cache = NodeCache(settings.cache, warn, check)

    def claim_new(self, spec: VmSpec, actor: str, lease_seconds: int, problems: Sequence[str] = ()) -> Claim:
        """Reserve a VM for being made, or say what is there already.

        Args:
            problems: what is wrong with the request by itself, to be said together with what only the registry knows.

        Raises:
            Invalid: `problems`, unknown node or image, or a disk smaller than the image.
            Conflict: a VM of this name is there and differs from what was asked for.
            VirtfleetError: busy, or no_capacity with the reason for each node.
        """
        with self._transaction(claiming=True) as cursor:
            with Room(cursor) as room:
                return NewClaims(cursor, room, actor, lease_seconds).claim(spec, problems)

    def claim_clone(
        self, request: Mapping[str, Any], actor: str, lease_seconds: int, problems: Sequence[str] = ()
    ) -> Claim:
        """Reserve a VM for being cloned from another one, which it is like where it is not asked to be otherwise.

        Args:
            request: the variables of clone_vm.yml.
            problems: as for claim_new.

        Raises:
            Invalid: `problems`, a source that is not there or is half of what it should be, or a smaller disk.
            VirtfleetError: what claim_new raises.
        """
        name, source, snapshot = (request.get(key) for key in ("name", "source", "snapshot"))
        found = [*problems, name_problem(source, "source"), snapshot and name_problem(snapshot, "snapshot")]
        with self._transaction(claiming=True) as cursor:
            origin = rows.find(cursor, str(source))
            like = rows.find(cursor, str(name))
            if like is None:
                found.append(rows.source_problem(origin, str(source)))
                like = origin
            spec, unreadable = cloned_request(rows.as_request(like), request) if like else read_request(request)
            spec = replace(spec, source=Source(str(source), origin["id"] if origin else "", snapshot))
            known = [problem for problem in [*found, *unreadable] if problem]
            with Room(cursor) as room:
                return NewClaims(cursor, room, actor, lease_seconds).claim(spec, known)

    def claim_many(
        self, requests: Sequence[tuple[VmSpec, Sequence[str]]], actor: str, lease_seconds: int
    ) -> tuple[list[Claim], dict[str, VirtfleetError]]:
        """claim_new for many VMs in one transaction; the refusal of one, by its name, does not stop the others."""
        with self._transaction(claiming=True) as cursor:
            with Room(cursor) as room:
                return NewClaims(cursor, room, actor, lease_seconds).claim_all(requests)

    def claim_existing(self, name: str, intent: str, actor: str, lease_seconds: int) -> Claim:
        """Take the lease of a VM that is there; deleting one that is not there needs nothing.

        Raises:
            NotFound: there is none of this name.
            Conflict: it is half-deleted, and something else than deleting is intended.
            VirtfleetError: busy; needs_consent when it is protected and would be deleted or rolled back.
        """
        with self._transaction() as cursor:
            row = rows.find(cursor, name)
            if row is None and intent == "delete":
                nothing = Change({}, {})
                return Claim({"name": name, "state": "deleted"}, {"name": "", "address": ""}, False, nothing)
            row = row or rows.existing(cursor, name)
            rows.refuse_leased(row)
            rows.refuse_half_moved(row)
            if intent != "delete":
                rows.refuse_half_deleted(row)
            if row["protected"] and intent in _REFUSED_WHEN_PROTECTED:
                raise VirtfleetError("needs_consent", f"VM {name} is protected", "Take the protection away first.")
            state = "deleting" if intent == "delete" else row["state"]
            lease = rows.take_lease(cursor, row["id"], actor, lease_seconds, state)
            return claimed(cursor, name, lease, row)

    def claim_deleted(self, name: str, actor: str, lease_seconds: int) -> Claim:
        """Take a VM that was deleted back into the registry, on a node with room, to bring its volumes back.

        Raises:
            NotFound: none of this name was deleted.
            Conflict: one is half-deleted.
            VirtfleetError: busy, or no_capacity.
        """
        with self._transaction(claiming=True) as cursor:
            there = rows.find(cursor, name)
            if there is not None:
                rows.refuse_leased(there)
                rows.refuse_half_deleted(there)
                restores.refuse_half_restored(there)
                if not there["spec"].get("restoring"):
                    return nothing_to_do(cursor, there)
            row = there or rows.deleted(cursor, name)
            if row is None:
                raise NotFound(f"No VM {name!r} was deleted", "purge_trash.yml --check shows what is in the trash.")
            if there is None:
                spec = parse_request(rows.as_request(row) | {"node": None})
                projects.refuse_over_quota(cursor, spec)
                rows.refuse_taken(cursor, row)
                with Room(cursor) as room:
                    rows.bring_back(cursor, row, room.choose(spec))
                rows.event(cursor, row["id"], actor, "undelete", {})
            lease = rows.take_lease(cursor, row["id"], actor, lease_seconds, "stopped")
            return claimed(cursor, name, lease, row, resume=there is not None)

    def claim_restored(
        self, name: str, source: Mapping[str, Any], node: str | None, actor: str, lease_seconds: int
    ) -> Claim:
        """Take a VM that is made from a backup into the registry, on a node with room; see registry_restore.begin.

        Args:
            source: `backup` and `vm` of the backup. A restore of it that was cut off is continued.
            node: where it should go; None is the node with the most room.

        Raises:
            Invalid: there is no such node.
            Conflict: there is a VM of this name.
            VirtfleetError: busy, or no_capacity.
        """
        with self._transaction(claiming=True) as cursor:
            there = rows.find(cursor, name)
            if there is None:
                lease = restores.begin(cursor, name, source, node, actor, lease_seconds)
                return claimed(cursor, name, lease, {})
            rows.refuse_leased(there)
            restores.continued(there, source["backup"])
            lease = rows.take_lease(cursor, there["id"], actor, lease_seconds, there["state"])
            return claimed(cursor, name, lease, there, resume=True)

    def claim_change(self, name: str, request: Mapping[str, Any], actor: str, lease_seconds: int) -> Claim:
        """Give a VM that is there other sizes, data disks or protection, and take its lease for doing it.

        Args:
            request: the variables of create_vm.yml that are to be other than they are. `attach` is a data disk to add
                or grow, `detach` the name of one to take away.

        Raises:
            NotFound: there is none of this name.
            Conflict: it is half-made or half-deleted.
            Invalid: the new values are no good, or a disk would shrink.
            VirtfleetError: busy, or no_capacity on its node.
        """
        with self._transaction(claiming=True) as cursor:
            row = rows.existing(cursor, name)
            rows.refuse_leased(row)
            rows.refuse_half_deleted(row)
            rows.refuse_half_made(row)
            rows.refuse_half_moved(row)
            spec = changed_request(rows.as_request(row), request)
            refuse_without_room(row, spec, nodes.with_use(cursor))
            projects.refuse_over_quota(cursor, spec, row)
            rows.change(cursor, row, spec)
            lease = rows.take_lease(cursor, row["id"], actor, lease_seconds, row["state"])
            claim = claimed(cursor, name, lease, row)
            if claim.change.changed:
                rows.event(cursor, row["id"], actor, "change", claim.change.difference())
            return claim

    def claim_seed(self, spec: VmSpec, default_keys: Sequence[str], actor: str, lease_seconds: int) -> Claim:
        """Give a VM that is there another seed, and take its lease for writing it.

        Args:
            spec: name, ssh_authorized_keys, guest_user and user_data are read; of the first two what was given.
            default_keys: those of a VM that was made without keys of its own.

        Raises:
            NotFound: there is none of this name.
            Conflict: it is half-made, half-deleted or half-moved.
            Invalid: its user-data was not given again.
            VirtfleetError: busy.
        """
        with self._transaction() as cursor:
            row = rows.existing(cursor, spec.name)
            rows.refuse_leased(row)
            rows.refuse_half_deleted(row)
            rows.refuse_half_made(row)
            rows.refuse_half_moved(row)
            seeds.write(cursor, row, spec, default_keys)
            lease = rows.take_lease(cursor, row["id"], actor, lease_seconds, row["state"])
            claim = claimed(cursor, spec.name, lease, row)
            if claim.change.changed:
                rows.event(cursor, row["id"], actor, "reseed", claim.change.difference())
            return claim

    def claim_move(self, name: str, node: str | None, actor: str, lease_seconds: int) -> Claim:
        """Take the lease of a VM and reserve room for it on another node; a move that was cut off is continued.

        Args:
            node: where it should go; None is where it would be put if it were new. The node that it is on needs
                nothing, and gives a move up that was cut off.

        Raises:
            NotFound: there is no VM of this name.
            Invalid: there is no node of this name.
            Conflict: it is half-made, half-deleted, or half-way to another node.
            VirtfleetError: busy, or no_capacity with the reason for each node.
        """
        with self._transaction(claiming=True) as cursor:
            row = rows.existing(cursor, name)
            rows.refuse_leased(row)
            rows.refuse_half_deleted(row)
            target = rows.node(cursor, moves.target(cursor, row, node))
            if target["name"] == row["node"] and not moves.is_moving(row):
                return replace(nothing_to_do(cursor, row), target=target)
            lease = moves.begin(cursor, row, target["name"], actor, lease_seconds)
            return replace(claimed(cursor, name, lease, row, resume=moves.is_moving(row)), target=target)

    def record(self, record: Record, actor: str) -> tuple[dict[str, Any], Change]:
        """Write what became of the VM and give its lease back; then tell the cache."""
        vms, changes = self.record_many([record], actor)
        return vms[0], changes[record.name]

    def record_many(self, records: Sequence[Record], actor: str) -> tuple[list[dict[str, Any]], dict[str, Change]]:
        """record for many VMs in one transaction, and one word to the cache."""
        vms, changes, nodes = [], {}, {}
        with self._transaction() as cursor:
            there = rows.find_all(cursor, [record.name for record in records])
            for record in records:
                if record.name not in there:
                    raise rows.no_vm(record.name)
                vm, changes[record.name], nodes[record.name] = self._record(cursor, there[record.name], record, actor)
                vms.append(vm)
        self._cache.write(nodes)
        return vms, changes

    @staticmethod
    def _record(
        cursor: Any, row: Mapping[str, Any], record: Record, actor: str
    ) -> tuple[dict[str, Any], Change, dict[str, str]]:
        rows.refuse_other_lease(row, record.lease)
        if record.undo and record.error:
            rows.undo(cursor, row, record.undo)
        rows.write_record(cursor, row["id"], record)
        recorded = rows.existing(cursor, record.name)
        change = Change(rows.view(row), rows.view(recorded))
        if change.changed or record.error:
            what = "migrated" if recorded["node"] != row["node"] else (record.state or "record")
            detail = dict(record.error or change.difference())
            rows.event(cursor, row["id"], actor, "failed" if record.error else what, detail)
        if record.event and not record.error:
            rows.event(cursor, row["id"], actor, record.event, record.detail)
        return rows.shown(recorded), change, rows.node(cursor, recorded["node"])

    def forget(self, name: str, lease: str, actor: str) -> tuple[dict[str, Any], Change]:
        """The VM is gone: free its name, and drop it from the cache."""
        with self._transaction() as cursor:
            row = rows.leased(cursor, name, lease)
            restores.give_back(cursor, row)
            cursor.execute(
                """UPDATE vm SET state = 'deleted', lease_by = NULL, lease_until = NULL, step = NULL, error = NULL,
                       updated_at = now() WHERE id = %s""",
                (row["id"],),
            )
            rows.event(cursor, row["id"], actor, "delete", {})
        self._cache.write({name: None})
        return rows.shown(row) | {"state": "deleted"}, Change(rows.view(row), {})

    def refresh(self, seen: Seen, actor: str) -> Change:
        """Write states and addresses that differ on the nodes that the VMs are recorded on; see reconcile for the rest.

        When the nodes answered is kept too, which is bookkeeping and no change.
        """
        with self._transaction() as cursor:
            nodes.seen(cursor, list(seen.foreign))
            there = reconciling.all_rows(cursor)
            found = [finding for finding in compare(Known(there), seen) if finding.kind in _REFRESHED]
            reconciling.write(cursor, found, actor, "refresh")
        before = {row["name"]: {"state": row["state"], "ip": row["ip"]} for row in there}
        changed = {finding.name: before[finding.name] for finding in found}
        after = {name: dict(values) for name, values in changed.items()}
        for finding in found:
            after[finding.name] |= finding.changes
        return Change(changed, after)

    def summary(self) -> dict[str, Any]:
        """What a dashboard shows of all VMs, see reconcile_plan.summary."""
        with self._reading() as cursor:
            return summary(reconciling.all_rows(cursor, to_write=False))

    def vms(self, filters: Mapping[str, str | None]) -> list[dict[str, Any]]:
        """The VMs that match every filter that is not None, by name; see registry_list.listed."""
        return self.page(filters, 0)[0]

    def page(self, filters: Mapping[str, str | None], limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """So many of the VMs that match, and the name to go on after where there are more."""
        with self._reading() as cursor:
            return lists.listed(cursor, filters, limit)

    def history(self, name: str, limit: int) -> list[dict[str, Any]]:
        """What happened to all VMs that have or had this name, the last things first.

        Returns:
            For each: id, at (UTC), vm_id, actor, action and detail; a change of the row tells from what to what.

        Raises:
            NotFound: there never was one.
        """
        with self._reading() as cursor:
            return history.of_name(cursor, name, limit)

    def reconcile(self, seen: Seen, apply: bool, actor: str) -> tuple[list[Finding], list[str]]:
        """Compare the registry with what was seen, and mend what can be mended.

        Args:
            seen: what the nodes said; what the cache says is read here.
            apply: whether to write; in check mode nothing is written either way.

        Returns:
            The findings, and the ids of all VMs that the registry has.
        """
        seen = replace(seen, cache=self._cache.all())
        with self._transaction(claiming=True) as cursor:
            there = reconciling.all_rows(cursor)
            found = compare(rebuilding.known(cursor, there, seen), seen)
            if apply:
                reconciling.write(cursor, found, actor, "reconcile")
            addresses = {node["name"]: node for node in nodes.with_use(cursor)}
        if apply:
            self._mend_cache(found, there, addresses)
        return found, [row["id"] for row in there]

    def rebuild(
        self, seen: Seen, told_nodes: Mapping[str, Mapping[str, Any]], told_images: Mapping[str, int], actor: str
    ) -> list[Finding]:
        """Insert the nodes, images and VMs that are there and that the registry does not have; nothing else changes.

        Args:
            told_nodes: address, vcpus and memory_mib by name.
            told_images: sizes in GiB by name.

        Returns:
            What was missing; what has no action is for a person.
        """
        with self._transaction(claiming=True) as cursor:
            found = rebuilding.add_nodes(cursor, told_nodes) + rebuilding.add_images(cursor, told_images)
            unknown = unknown_domains(rebuilding.known(cursor, reconciling.all_rows(cursor), seen), seen)
            reconciling.write(cursor, unknown, actor, "rebuild")
            found += unknown + rebuilding.missing_subnets(cursor)
            recorded = [finding.lost for finding in unknown if finding.lost]
            places = {one.name: rows.node(cursor, one.node) for one in recorded}
        self._cache.write(places)
        return found

    def _mend_cache(
        self, found: Sequence[Finding], there: Sequence[Mapping[str, Any]], addresses: Mapping[str, Mapping[str, Any]]
    ) -> None:
        moved = {finding.name: str(finding.changes["node"]) for finding in found if "node" in finding.changes}
        moved |= {finding.name: finding.lost.node for finding in found if finding.lost}
        stale = {finding.name: finding.cached for finding in found if finding.kind == "stale_cache"}
        wanted = stale | moved
        self._cache.write(
            {
                name: {"name": node, "address": addresses[node]["address"]} if node else None
                for name, node in wanted.items()
            }
        )

    def empty_cache(self) -> list[str]:
        """The cache forgets all VMs, whose names these are."""
        names = sorted(self._cache.all())
        self._cache.write(dict.fromkeys(names))
        return names

    def location(self, name: str) -> tuple[dict[str, str], str]:
        """The node of a VM, and who knew: redis, or postgresql (then Redis is told).

        What Redis says may be old. Who acts on a VM asks by a claim, whose record has Redis say what is right.

        Raises:
            NotFound: PostgreSQL has no VM of this name.
        """
        node = self._cache.node(name)
        if node is not None:
            return node, "redis"
        with self._reading() as cursor:
            node = rows.node_of(cursor, name)
        self._cache.write({name: node})
        return node, "postgresql"
