# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry: PostgreSQL holds it, Redis caches which node a VM is on. Runs on the controller only."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .errors import Backend, Conflict, Invalid, NotFound, Unreachable, VirtfleetError
from .spec import VmSpec

try:
    import psycopg2
    import psycopg2.extras
except ImportError:
    HAS_PSYCOPG2 = False
else:
    HAS_PSYCOPG2 = True

try:
    import redis
except ImportError:
    HAS_REDIS = False
else:
    HAS_REDIS = True

_CONNECT_SECONDS = 5
_STATEMENT_MILLISECONDS = 10000
_REDIS_SECONDS = 1
VCPU_OVERCOMMIT = 8
# One lock for everything that takes a name, an address or room: claims are short, and no two may count the same room.
_CLAIM_LOCK = 0x76697274

_VM_COLUMNS = """id::text, name, project, node, state, memory_mib, vcpus, disk_gib, image, mac::text,
    host(ip) AS ip, tags,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at, step, error"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach PostgreSQL and Redis. `ca_file` verifies the server's certificate."""

    host: str
    user: str
    password: str = field(repr=False)
    ca_file: str
    port: int = 5432
    database: str = "virtfleet"
    redis_host: str = ""
    redis_port: int = 6379
    redis_user: str = "virtfleet"
    redis_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """A VM that is reserved for the caller. `needed` is False where there is nothing to do; then there is no lease."""

    vm: dict[str, Any]
    node: dict[str, str]
    needed: bool
    resume: bool = False
    lease: str | None = None


class Registry:
    """One connection; every method is one transaction. Use as a context manager.

    Raises (every method):
        Unreachable: PostgreSQL does not answer.
        Backend: PostgreSQL answered with an error.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], None], check: bool = False) -> None:
        if not HAS_PSYCOPG2:
            raise Backend("psycopg2 is not installed on the controller", "pip install psycopg2-binary")
        self._settings = settings
        self._warn = warn
        self._check = check
        where = f"PostgreSQL at {settings.host}:{settings.port}"
        try:
            self._connection = psycopg2.connect(
                host=settings.host,
                port=settings.port,
                dbname=settings.database,
                user=settings.user,
                password=settings.password,
                sslmode="verify-full",
                sslrootcert=settings.ca_file,
                connect_timeout=_CONNECT_SECONDS,
                options=f"-c statement_timeout={_STATEMENT_MILLISECONDS} -c search_path=virtfleet",
                application_name="virtfleet",
            )
        except psycopg2.OperationalError as error:
            raise Unreachable(
                f"{where} does not let us in: {str(error).strip()}",
                "Check that it runs, registry_host, registry_user, registry_password and registry_ca_file.",
            ) from None

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._connection.close()

    def claim_new(self, spec: VmSpec, actor: str, lease_seconds: int) -> Claim:
        """Reserve a VM for being made, or say what is there already.

        Raises:
            Invalid: unknown node or image, or a disk smaller than the image.
            Conflict: a VM of this name is there and differs from what was asked for.
            VirtfleetError: busy, or no_capacity with the reason for each node.
        """
        with self._transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_CLAIM_LOCK,))
            row = _find(cursor, spec.name)
            if row is not None:
                return self._claim_again(cursor, row, spec, actor, lease_seconds)
            nodes = _nodes_with_use(cursor)
            _refuse_unknown(cursor, spec, nodes)
            node = _place(spec, nodes)
            vm_id, lease = str(uuid.uuid4()), _lease(actor)
            cursor.execute(
                """INSERT INTO vm (id, name, project, node, state, memory_mib, vcpus, disk_gib, image, mac, tags, spec,
                       lease_by, lease_until)
                   VALUES (%s, %s, %s, %s, 'creating', %s, %s, %s, %s, %s, %s, %s, %s,
                       now() + %s * interval '1 second')""",
                (
                    vm_id, spec.name, spec.project, node["name"], spec.memory_mib, spec.vcpus, spec.disk_gib,
                    spec.image,
                    _free_mac(cursor), list(spec.tags), json.dumps({"user_data_sha256": spec.user_data_sha256}), lease,
                    lease_seconds,
                ),
            )  # fmt: skip
            _event(cursor, vm_id, actor, "create", {"node": node["name"]})
            return _claimed(cursor, spec.name, lease)

    def _claim_again(self, cursor: Any, row: dict[str, Any], spec: VmSpec, actor: str, lease_seconds: int) -> Claim:
        _refuse_leased(row)
        differences = _differences(row, spec)
        if differences:
            raise Conflict(
                f"VM {spec.name} is there and differs from what was asked for",
                "Leave these values out to keep it as it is, or choose another name.",
                differences,
            )
        if row["made"]:
            return Claim(_shown(row), _node(cursor, row["node"]), needed=False)
        lease = _take_lease(cursor, row["id"], actor, lease_seconds, "creating")
        _event(cursor, row["id"], actor, "create", {"resumed": True})
        return _claimed(cursor, spec.name, lease, resume=True)

    def claim_existing(self, name: str, intent: str, actor: str, lease_seconds: int) -> Claim:
        """Take the lease of a VM that is there; deleting one that is not there needs nothing.

        Raises:
            NotFound: there is none of this name.
            VirtfleetError: busy; needs_consent when it is protected and would be deleted.
        """
        with self._transaction() as cursor:
            row = _find(cursor, name)
            if row is None and intent == "delete":
                return Claim({"name": name, "state": "deleted"}, {"name": "", "address": ""}, needed=False)
            row = row or _existing(cursor, name)
            _refuse_leased(row)
            if intent == "delete" and row["protected"]:
                raise VirtfleetError("needs_consent", f"VM {name} is protected", "Take the protection away first.")
            state = "deleting" if intent == "delete" else row["state"]
            lease = _take_lease(cursor, row["id"], actor, lease_seconds, state)
            return _claimed(cursor, name, lease)

    def record(
        self, name: str, lease: str, actor: str, state: str | None, step: str | None, error: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], bool]:
        """Write what became of the VM and give its lease back; then tell the cache.

        Returns:
            The VM, and whether its state or error is another one now.
        """
        with self._transaction() as cursor:
            row = _leased(cursor, name, lease)
            changed = row["state"] != (state or row["state"]) or row["made"] != (row["made"] or error is None)
            cursor.execute(
                """UPDATE vm SET state = coalesce(%s, state), made = made OR %s, step = %s, error = %s, lease_by = NULL,
                       lease_until = NULL, updated_at = now() WHERE id = %s""",
                (state, error is None, step, json.dumps(error) if error else None, row["id"]),
            )
            if changed or error:
                _event(cursor, row["id"], actor, "failed" if error else (state or "record"), dict(error or {}))
            vm, node = _shown(_existing(cursor, name)), _node(cursor, row["node"])
        self._cache(lambda cache: cache.set(_key(name), json.dumps(node)))
        return vm, changed or error is not None

    def forget(self, name: str, lease: str, actor: str) -> dict[str, Any]:
        """The VM is gone: free its name, and drop it from the cache."""
        with self._transaction() as cursor:
            row = _leased(cursor, name, lease)
            cursor.execute(
                """UPDATE vm SET state = 'deleted', lease_by = NULL, lease_until = NULL, step = NULL, error = NULL,
                       updated_at = now() WHERE id = %s""",
                (row["id"],),
            )
            _event(cursor, row["id"], actor, "delete", {})
        self._cache(lambda cache: cache.delete(_key(name)))
        return {**_shown(row), "state": "deleted"}

    def refresh(self, observed: list[Mapping[str, Any]]) -> list[str]:
        """Write observed states and addresses where they differ; VMs that somebody is changing are left alone.

        Returns:
            The names of the VMs that changed.
        """
        changed = []
        with self._transaction() as cursor:
            for seen in observed:
                cursor.execute(
                    """UPDATE vm SET state = %(state)s, ip = coalesce(%(ip)s::inet, ip), updated_at = now()
                       WHERE id = %(id)s AND made AND state <> 'deleted'
                         AND (lease_until IS NULL OR lease_until < now())
                         AND (state <> %(state)s OR ip IS DISTINCT FROM coalesce(%(ip)s::inet, ip))
                       RETURNING name""",
                    {"id": seen["id"], "state": seen["state"], "ip": seen["ip"]},
                )
                changed += [row["name"] for row in cursor.fetchall()]
        return changed

    def vms(self, filters: Mapping[str, str | None]) -> list[dict[str, Any]]:
        """The VMs that match every filter (name, project, node, state) that is not None, by name."""
        given = {column: value for column, value in filters.items() if value is not None}
        where = "".join(f" AND {column} = %({column})s" for column in given)
        with self._transaction() as cursor:
            cursor.execute(f"SELECT {_VM_COLUMNS} FROM vm WHERE state <> 'deleted'{where} ORDER BY name", given)
            return [_shown(row) for row in cursor.fetchall()]

    def put_node(self, name: str, address: str, vcpus: int, memory_mib: int) -> bool:
        """Register a node, or bring its address and capacity up to date; True when that changed anything."""
        with self._transaction() as cursor:
            cursor.execute(
                """INSERT INTO node AS old (name, address, vcpus, memory_mib) VALUES (%s, %s, %s, %s)
                   ON CONFLICT (name) DO UPDATE SET address = excluded.address, vcpus = excluded.vcpus,
                       memory_mib = excluded.memory_mib, updated_at = now()
                   WHERE (old.address, old.vcpus, old.memory_mib)
                       <> (excluded.address, excluded.vcpus, excluded.memory_mib)
                   RETURNING name""",
                (name, address, vcpus, memory_mib),
            )
            return cursor.fetchone() is not None

    def put_image(self, name: str, size_gib: int) -> bool:
        """Register an image; True when that changed anything."""
        with self._transaction() as cursor:
            cursor.execute(
                """INSERT INTO image AS old (name, size_gib) VALUES (%s, %s)
                   ON CONFLICT (name) DO UPDATE SET size_gib = excluded.size_gib, updated_at = now()
                   WHERE old.size_gib <> excluded.size_gib RETURNING name""",
                (name, size_gib),
            )
            return cursor.fetchone() is not None

    def location(self, name: str) -> tuple[dict[str, str], str]:
        """The node of a VM, and who knew: redis, or postgresql (then Redis is told).

        Raises:
            NotFound: PostgreSQL has no VM of this name.
        """
        cached = self._cache(lambda cache: cache.get(_key(name)))
        if cached:
            try:
                node = json.loads(cached)
                return {"name": node["name"], "address": node["address"]}, "redis"
            except (ValueError, KeyError, TypeError):
                self._warn(f"Redis holds no node under {_key(name)}; PostgreSQL is asked")
        with self._transaction() as cursor:
            node = _node(cursor, _existing(cursor, name)["node"])
        self._cache(lambda cache: cache.set(_key(name), json.dumps(node)))
        return node, "postgresql"

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A cursor; committed at the end, rolled back on an error and in check mode."""
        try:
            with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                yield cursor
            if self._check:
                self._connection.rollback()
            else:
                self._connection.commit()
        except psycopg2.OperationalError as error:
            raise Unreachable(
                f"PostgreSQL at {self._settings.host} went away: {str(error).strip()}",
                "Run again; what was not committed did not happen.",
            ) from None
        except psycopg2.Error as error:
            self._connection.rollback()
            raise Backend(f"PostgreSQL refused: {str(error).strip()}", "Is the schema up to date (site.yml)?") from None
        except VirtfleetError:
            self._connection.rollback()
            raise

    def _cache(self, action: Callable[[Any], Any]) -> Any:
        """Do something with Redis. It is only a cache: whatever goes wrong with it is a warning."""
        settings = self._settings
        if not HAS_REDIS or not settings.redis_host or self._check:
            return None
        try:
            with redis.Redis(
                host=settings.redis_host,
                port=settings.redis_port,
                username=settings.redis_user,
                password=settings.redis_password,
                socket_timeout=_REDIS_SECONDS,
                socket_connect_timeout=_REDIS_SECONDS,
                decode_responses=True,
            ) as cache:
                return action(cache)
        except redis.RedisError as error:
            self._warn(f"Redis at {settings.redis_host}:{settings.redis_port} is left out: {error}")
            return None


def _key(name: str) -> str:
    return f"vm:{name}"


def _lease(actor: str) -> str:
    # The random part tells two runs of one person apart; what people are shown is before it.
    return f"{actor} {secrets.token_hex(8)}"


def _find(cursor: Any, name: str) -> dict[str, Any] | None:
    cursor.execute(
        f"""SELECT {_VM_COLUMNS}, made, protected, lease_by, lease_until, lease_until >= now() AS leased, spec,
               to_char(lease_until AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"') AS lease_ends
            FROM vm WHERE name = %s AND state <> 'deleted' FOR UPDATE""",
        (name,),
    )
    row: dict[str, Any] | None = cursor.fetchone()
    return row


def _existing(cursor: Any, name: str) -> dict[str, Any]:
    row = _find(cursor, name)
    if row is None:
        raise NotFound(f"There is no VM {name!r}", "list_vms.yml shows those that there are.")
    return row


def _leased(cursor: Any, name: str, lease: str) -> dict[str, Any]:
    row = _existing(cursor, name)
    if row["lease_by"] != lease:
        raise VirtfleetError("busy", f"VM {name} is not leased by us any more", "Run again; it continues from there.")
    return row


def _refuse_leased(row: Mapping[str, Any]) -> None:
    if row["leased"]:
        who = row["lease_by"].rsplit(" ", 1)[0]
        raise VirtfleetError(
            "busy",
            f"VM {row['name']} is being changed by {who}, until {row['lease_ends']} at the latest",
            "Wait and run again.",
        )


def _take_lease(cursor: Any, vm_id: str, actor: str, seconds: int, state: str) -> str:
    lease = _lease(actor)
    cursor.execute(
        """UPDATE vm SET lease_by = %s, lease_until = now() + %s * interval '1 second', state = %s, updated_at = now()
           WHERE id = %s""",
        (lease, seconds, state, vm_id),
    )
    return lease


def _differences(row: Mapping[str, Any], spec: VmSpec) -> list[str]:
    """Where the VM differs from what the user gave this time; what was left out does not count."""
    wanted = {
        "project": ("project", spec.project),
        "ram": ("memory_mib", spec.memory_mib),
        "cpu": ("vcpus", spec.vcpus),
        "disk": ("disk_gib", spec.disk_gib),
        "image": ("image", spec.image),
        "node": ("node", spec.node),
        "tags": ("tags", list(spec.tags)),
    }
    found = [
        f"{name} is {row[column]}, not {value}"
        for name, (column, value) in wanted.items()
        if name in spec.given and row[column] != value
    ]
    if "user_data" in spec.given and row["spec"].get("user_data_sha256") != spec.user_data_sha256:
        found.append("user_data is another one")
    return found


def _nodes_with_use(cursor: Any) -> list[dict[str, Any]]:
    cursor.execute(
        """SELECT node.name, node.state, node.vcpus, node.memory_mib,
               coalesce(sum(vm.vcpus), 0) AS used_vcpus, coalesce(sum(vm.memory_mib), 0) AS used_memory_mib
           FROM node LEFT JOIN vm ON vm.node = node.name AND vm.state <> 'deleted'
           GROUP BY node.name ORDER BY node.name"""
    )
    return [dict(row) for row in cursor.fetchall()]


def _refuse_unknown(cursor: Any, spec: VmSpec, nodes: list[dict[str, Any]]) -> None:
    problems = []
    names = [node["name"] for node in nodes]
    if spec.node is not None and spec.node not in names:
        problems.append(f"node {spec.node} is none of {', '.join(names) or 'no nodes at all'}")
    cursor.execute("SELECT name, size_gib FROM image ORDER BY name")
    images = {row["name"]: row["size_gib"] for row in cursor.fetchall()}
    if spec.image not in images:
        problems.append(f"image {spec.image} is none of {', '.join(images) or 'no images at all'}")
    elif spec.disk_gib < images[spec.image]:
        problems.append(f"disk {spec.disk_gib} GiB is smaller than image {spec.image} ({images[spec.image]} GiB)")
    if problems:
        raise Invalid(problems)


def _place(spec: VmSpec, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """The node with the most free memory, then vCPUs, among those that have room."""
    fitting, reasons = [], []
    for node in nodes:
        memory = node["memory_mib"] - node["used_memory_mib"]
        vcpus = node["vcpus"] * VCPU_OVERCOMMIT - node["used_vcpus"]
        if spec.node not in (None, node["name"]):
            reasons.append(f"{node['name']}: node {spec.node} was asked for")
        elif node["state"] != "active":
            reasons.append(f"{node['name']}: {node['state']}")
        elif memory < spec.memory_mib:
            reasons.append(f"{node['name']}: {memory} MiB of memory free, {spec.memory_mib} needed")
        elif vcpus < spec.vcpus:
            reasons.append(f"{node['name']}: {vcpus} virtual CPUs free, {spec.vcpus} needed")
        else:
            fitting.append((memory, vcpus, node))
    if not fitting:
        raise VirtfleetError(
            "no_capacity", f"No node has room for {spec.name}", "Make it smaller, or free some room.", reasons
        )
    return max(fitting, key=lambda entry: entry[:2])[2]


def _free_mac(cursor: Any) -> str:
    """A random MAC with QEMU's prefix that no VM has; the unique index would refuse it otherwise."""
    while True:
        mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
        cursor.execute("SELECT 1 FROM vm WHERE mac = %s AND state <> 'deleted'", (mac,))
        if cursor.fetchone() is None:
            return mac


def _event(cursor: Any, vm_id: str, actor: str, action: str, detail: Mapping[str, Any]) -> None:
    cursor.execute(
        "INSERT INTO event (vm, actor, action, detail) VALUES (%s, %s, %s, %s)",
        (vm_id, actor, action, json.dumps(detail)),
    )


def _node(cursor: Any, name: str) -> dict[str, str]:
    cursor.execute("SELECT name, address FROM node WHERE name = %s", (name,))
    return dict(cursor.fetchone())


def _claimed(cursor: Any, name: str, lease: str, resume: bool = False) -> Claim:
    row = _existing(cursor, name)
    return Claim(_shown(row), _node(cursor, row["node"]), needed=True, resume=resume, lease=lease)


_SHOWN = (
    "id", "name", "project", "node", "state", "memory_mib", "vcpus", "disk_gib", "image", "mac", "ip", "tags",
    "created_at", "step", "error",
)  # fmt: skip


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The VM in the result shape."""
    return {key: row[key] for key in _SHOWN} | {"console": f"virsh -c qemu:///system console {row['name']}"}
