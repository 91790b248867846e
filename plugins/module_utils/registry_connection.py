# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry in PostgreSQL: the connection and its transactions. Runs on the controller only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import Backend, Unreachable, VirtfleetError
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

_CONNECT_SECONDS = 5
_STATEMENT_MILLISECONDS = 10000
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
        VirtfleetError: timeout, when it answered too late.
        Backend: PostgreSQL answered with an error.
    """

    def __init__(self, settings: Settings, check: bool = False) -> None:
        if not HAS_PSYCOPG2:
            raise Backend("psycopg2 is not installed on the controller", "pip install psycopg2-binary")
        self._where = f"PostgreSQL at {settings.host}:{settings.port}"
        self._check = check
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
                # A server that falls silent is noticed too: by the kernel, within this time.
                tcp_user_timeout=_STATEMENT_MILLISECONDS * 2,
                options=f"-c statement_timeout={_STATEMENT_MILLISECONDS} -c search_path=virtfleet",
                application_name="virtfleet",
            )
        except psycopg2.OperationalError as error:
            raise Unreachable(
                f"{self._where} does not let us in: {str(error).strip()}",
                "Check that it runs, registry_host, registry_user, registry_password and registry_ca_file.",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, claiming: bool = False, plain: bool = False) -> Iterator[Any]:
        """A cursor; committed at the end, rolled back on an error and in check mode.

        Args:
            claiming: it takes a name, an address or room; one of these at a time.
            plain: rows are tuples and not mappings, which is quicker for very many.
        """
        try:
            factory = None if plain else psycopg2.extras.RealDictCursor
            with self._connection.cursor(cursor_factory=factory) as cursor:
                if claiming:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_CLAIM_LOCK,))
                yield cursor
            if self._check:
                self._connection.rollback()
            else:
                self._connection.commit()
        except psycopg2.errors.QueryCanceled:
            self._connection.rollback()
            raise VirtfleetError(
                "timeout",
                f"{self._where} did not finish within {_STATEMENT_MILLISECONDS // 1000} s",
                "Nothing was written. See what it waits for in pg_stat_activity, and run again.",
            ) from None
        except psycopg2.OperationalError as error:
            raise Unreachable(
                f"{self._where} went away: {str(error).strip()}",
                "Run again; what was not committed did not happen.",
            ) from None
        except psycopg2.Error as error:
            self._connection.rollback()
            raise Backend(f"PostgreSQL refused: {str(error).strip()}", "Is the schema up to date (site.yml)?") from None
        except VirtfleetError:
            self._connection.rollback()
            raise
