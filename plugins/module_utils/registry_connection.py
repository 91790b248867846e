# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry in PostgreSQL: the connection and its transactions. Runs on the controller only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import Backend, Invalid, Unreachable, VirtfleetError
from .registry_cache import CacheSettings

if TYPE_CHECKING:
    from typing import Self

try:
    import psycopg2
    import psycopg2.extras
except ImportError:
    HAS_PSYCOPG2 = False
else:
    HAS_PSYCOPG2 = True

    class _PlainCursor(psycopg2.extensions.cursor):
        """Rows are tuples."""

        def execute(self, query: Any, values: Any = None) -> None:
            try:
                super().execute(query, values)
            except ValueError as error:
                # NUL, or half of a pair of surrogates, that no text in PostgreSQL can have.
                raise Invalid([str(error)], "PostgreSQL cannot hold what was given") from None

    class _Cursor(_PlainCursor, psycopg2.extras.RealDictCursor):
        """Rows are mappings."""


_CONNECT_SECONDS = 5
_STATEMENT_MILLISECONDS = 10000
# A client that vanishes within a transaction does not hold its locks for longer.
_IDLE_MILLISECONDS = 20000
_OUTCOME_SECONDS = 0.1
# One lock for everything that takes a name, an address or room: claims are short, and no two may count the same room.
_CLAIM_LOCK = 0x76697274


def as_utc(column: str) -> str:
    """SQL: a time as ISO 8601 in UTC, to the millisecond."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach PostgreSQL, and its cache. `ca_file` verifies the server's certificate."""

    host: str
    user: str
    password: str = field(repr=False)
    ca_file: str
    port: int = 5432
    database: str = "virtfleet"
    cache: CacheSettings = field(default_factory=CacheSettings)


class RegistryConnection:
    """One connection and its transactions. Use as a context manager.

    Args:
        check: everything is decided as in a run, and rolled back.

    Raises (every method):
        Unreachable: PostgreSQL does not answer.
        Invalid: it cannot hold a text that was given.
        VirtfleetError: timeout, when it answered too late.
        Backend: PostgreSQL answered with an error.
    """

    def __init__(self, settings: Settings, check: bool = False) -> None:
        if not HAS_PSYCOPG2:
            raise Backend("psycopg2 is not installed on the controller", "pip install psycopg2-binary")
        self._settings = settings
        self._where = f"PostgreSQL at {settings.host}:{settings.port}"
        self._check = check
        self._connection = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._connection.close()

    def _connect(self) -> Any:
        settings = self._settings
        try:
            connection = psycopg2.connect(
                host=settings.host,
                port=settings.port,
                dbname=settings.database,
                user=settings.user,
                password=settings.password,
                sslmode="verify-full",
                sslrootcert=settings.ca_file,
                connect_timeout=_CONNECT_SECONDS,
                # A server that falls silent is noticed too: by the kernel, within this time.
                tcp_user_timeout=_STATEMENT_MILLISECONDS * 2,
                options=f"-c statement_timeout={_STATEMENT_MILLISECONDS} -c search_path=virtfleet"
                f" -c idle_in_transaction_session_timeout={_IDLE_MILLISECONDS}",
                application_name="virtfleet",
            )
        except psycopg2.OperationalError as error:
            raise Unreachable(
                f"{self._where} does not let us in: {str(error).strip()}",
                "Check that it runs, that the firewall lets this machine in (firewall_controller_networks),"
                " registry_host, registry_user, registry_password and registry_ca_file.",
            ) from None
        # Transactions begin and end with our own words: one round trip less each, and a lost end can be asked for.
        connection.autocommit = True
        return connection

    @contextmanager
    def _transaction(self, claiming: bool = False) -> Iterator[Any]:
        """A cursor; committed at the end, rolled back on an error and in check mode.

        Args:
            claiming: it takes a name, an address or room; one of these at a time.
        """
        lock = f", pg_advisory_xact_lock({_CLAIM_LOCK})" if claiming else ""
        with self._our_errors(), self._connection.cursor(cursor_factory=_Cursor) as cursor:
            cursor.execute(f"BEGIN; SELECT pg_current_xact_id()::text AS number{lock}")
            number = cursor.fetchone()["number"]
            yield cursor
            if self._check:
                cursor.execute("ROLLBACK")
            else:
                self._commit(cursor, number)

    @contextmanager
    def _reading(self, plain: bool = False) -> Iterator[Any]:
        """A cursor for reading only, all of it as it is at one moment.

        Args:
            plain: rows are tuples and not mappings, which is quicker for very many.
        """
        factory = _PlainCursor if plain else _Cursor
        with self._our_errors(), self._connection.cursor(cursor_factory=factory) as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield cursor
            cursor.execute("COMMIT")

    def _commit(self, cursor: Any, number: str) -> None:
        """End a transaction; where the answer was lost, PostgreSQL is asked by its number what came of it.

        Raises:
            Unreachable: nothing was written, or nobody can tell whether it was.
        """
        try:
            cursor.execute("COMMIT")
            return
        except psycopg2.Error as error:
            if not self._connection.closed:
                raise
            lost = f"{self._where} went away at the end: {str(error).strip()}"
        try:
            outcome = self._outcome(number)
        except (VirtfleetError, psycopg2.Error):
            outcome = "unknown"
        if outcome == "aborted":
            raise Unreachable(lost, "Nothing was written. Run again.")
        if outcome != "committed":
            raise Unreachable(
                lost,
                "Whether it was written is not known. Run again; what was, is continued when its lease has run out.",
            )

    def _outcome(self, number: str) -> str | None:
        """What became of a transaction: committed or aborted, or something else while nobody knows."""
        self._connection = self._connect()
        until = time.monotonic() + _CONNECT_SECONDS
        while True:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT pg_xact_status(%s::xid8)", (number,))
                (outcome,) = cursor.fetchone()
            if outcome != "in progress" or time.monotonic() > until:
                return str(outcome)
            # Its server process has not noticed yet that nobody listens, or is still at it.
            time.sleep(_OUTCOME_SECONDS)

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise self._as_ours(error) from None
        except BaseException:
            self._roll_back()
            raise

    def _as_ours(self, error: Any) -> VirtfleetError:
        text = str(error).strip()
        # A connection that is lost is told of by many classes of errors.
        if self._connection.closed:
            return Unreachable(f"{self._where} went away: {text}", "Nothing was written. Run again.")
        self._roll_back()
        if isinstance(error, psycopg2.errors.QueryCanceled):
            return VirtfleetError(
                "timeout",
                f"{self._where} did not finish within {_STATEMENT_MILLISECONDS // 1000} s",
                "Nothing was written. See what it waits for in pg_stat_activity, and run again.",
            )
        if isinstance(error, psycopg2.DataError):
            return Invalid([text], "PostgreSQL cannot hold what was given")
        return Backend(f"PostgreSQL refused: {text}", "Is the schema up to date (site.yml)?")

    def _roll_back(self) -> None:
        # Where it cannot be said, the connection is lost, and PostgreSQL does it by itself.
        with suppress(psycopg2.Error), self._connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
