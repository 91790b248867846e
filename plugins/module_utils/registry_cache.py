# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry's cache: Redis keeps "name -> node". Runs on the controller only."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_SECONDS = 1
# What we write is much shorter; of anything else it is enough to see that it is not ours.
_BYTES = 1024
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How to reach Redis; without a host there is no cache. `ca_file` verifies its certificate, which is for `host`."""

    host: str = ""
    port: int = 6379
    user: str = "virtfleet"
    password: str = field(default="", repr=False)
    tls: bool = True
    ca_file: str = ""


class NodeCache:
    """The nodes of VMs by name. It is only a cache: whatever goes wrong with it is a warning, and a miss.

    After that it is left out, so that a Redis that does not answer costs its timeout once.

    Args:
        warn: is told what goes wrong.
        check: it is only read.
    """

    def __init__(self, settings: CacheSettings, warn: Callable[[str], None], check: bool = False) -> None:
        self._settings = settings
        self._warn = warn
        self._check = check
        self._left_out = not settings.host

    def node(self, name: str) -> dict[str, str] | None:
        """Name and address of the VM's node, or None when the cache does not know."""
        cached = self._redis(lambda cache: cache.getrange(_key(name), 0, _BYTES))
        if not cached:
            return None
        node = _node(cached)
        if node is None:
            self._warn(f"Redis holds no node under {_key(name)}; PostgreSQL is asked")
        return node

    def all(self) -> dict[str, str]:
        """The name of the node of every VM that the cache knows, "" where it holds nothing of the kind."""
        return self._redis(_get_all) or {}

    def write(self, nodes: Mapping[str, Mapping[str, str] | None]) -> None:
        """The nodes of VMs by name, None of those to forget, in one round trip."""
        if nodes and not self._check:
            self._redis(lambda cache: _write_all(cache, nodes))

    def _redis(self, action: Callable[[Any], Any]) -> Any:
        if self._left_out:
            return None
        try:
            # Not before it is needed: to import it takes longer than most playbooks' work with PostgreSQL.
            import redis
        except ImportError:
            self._left_out = True
            return None
        try:
            with _client(self._settings) as cache:
                return action(cache)
        except redis.RedisError as error:
            self._left_out = True
            self._warn(f"Redis at {self._settings.host}:{self._settings.port} is left out: {error}")
            return None


@contextmanager
def _client(settings: CacheSettings) -> Iterator[Any]:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    class TlsConnection(redis.Connection):
        """Trusts one CA. That of redis-py trusts all of the system too, and takes 0.2 s to read them."""

        def _connect(self) -> Any:
            plain = super()._connect()
            try:
                return _trust(settings.ca_file).wrap_socket(plain, server_hostname=self.host)
            except OSError:
                plain.close()
                raise

    pool = redis.ConnectionPool(
        connection_class=TlsConnection if settings.tls else redis.Connection,
        host=settings.host,
        port=settings.port,
        username=settings.user,
        password=settings.password,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        # A second try would cost more than asking PostgreSQL.
        retry=Retry(NoBackoff(), 0),
        encoding_errors="replace",
    )
    try:
        yield redis.Redis(connection_pool=pool)
    finally:
        pool.disconnect()


@lru_cache
def _trust(ca_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file)
    return context


def _write_all(cache: Any, nodes: Mapping[str, Mapping[str, str] | None]) -> None:
    with cache.pipeline(transaction=False) as pipeline:
        for name, node in nodes.items():
            if node is None:
                pipeline.delete(_key(name))
            else:
                pipeline.set(_key(name), json.dumps(dict(node)))
        pipeline.execute()


def _get_all(cache: Any) -> dict[str, str]:
    # A key that is no text is that of no VM.
    keys = sorted(key for key in cache.scan_iter(match=_key("*"), count=_AT_ONCE) if _text(key) is not None)
    found = {}
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        for key, value in zip(some, _get_some(cache, some), strict=True):
            node = None if isinstance(value, Exception) else _node(value)
            found[str(_text(key)).removeprefix(_key(""))] = node["name"] if node else ""
    return found


def _get_some(cache: Any, keys: Sequence[bytes]) -> list[Any]:
    """The values of keys; an error where one is of another type."""
    with cache.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.getrange(key, 0, _BYTES)
        return list(pipeline.execute(raise_on_error=False))


def _text(key: bytes) -> str | None:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def _node(value: bytes) -> dict[str, str] | None:
    """What we wrote, or None for anything else."""
    try:
        node = json.loads(value)
        name, address = node["name"], node["address"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return {"name": name, "address": address} if isinstance(name, str) and isinstance(address, str) else None


def _key(name: str) -> str:
    return f"vm:{name}"
