# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the registry's cache: Redis keeps "name -> node". Runs on the controller only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    HAS_REDIS = False
else:
    HAS_REDIS = True

_SECONDS = 1


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How to reach Redis; without a host there is no cache."""

    host: str = ""
    port: int = 6379
    user: str = "virtfleet"
    password: str = field(default="", repr=False)


class NodeCache:
    """The nodes of VMs by name. It is only a cache: whatever goes wrong with it is a warning, and a miss."""

    def __init__(self, settings: CacheSettings, warn: Callable[[str], None]) -> None:
        self._settings = settings
        self._warn = warn

    def node(self, name: str) -> dict[str, str] | None:
        """Name and address of the VM's node, or None when the cache does not know."""
        cached = self._redis(lambda cache: cache.get(_key(name)))
        if not cached:
            return None
        try:
            node = json.loads(cached)
            return {"name": node["name"], "address": node["address"]}
        except (ValueError, KeyError, TypeError):
            self._warn(f"Redis holds no node under {_key(name)}; PostgreSQL is asked")
            return None

    def all(self) -> dict[str, str]:
        """The name of the node of every VM that the cache knows, "" where it holds nothing of the kind."""
        return self._redis(_get_all) or {}

    def remember(self, nodes: Mapping[str, Mapping[str, str]]) -> None:
        """The nodes of VMs by name, in one round trip."""
        if nodes:
            self._redis(lambda cache: _set_all(cache, nodes))

    def forget(self, name: str) -> None:
        self._redis(lambda cache: cache.delete(_key(name)))

    def _redis(self, action: Callable[[Any], Any]) -> Any:
        settings = self._settings
        if not HAS_REDIS or not settings.host:
            return None
        try:
            with redis.Redis(
                host=settings.host,
                port=settings.port,
                username=settings.user,
                password=settings.password,
                socket_timeout=_SECONDS,
                socket_connect_timeout=_SECONDS,
                # A second try would cost more than asking PostgreSQL.
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
            ) as cache:
                return action(cache)
        except redis.RedisError as error:
            self._warn(f"Redis at {settings.host}:{settings.port} is left out: {error}")
            return None


def _set_all(cache: Any, nodes: Mapping[str, Mapping[str, str]]) -> None:
    with cache.pipeline(transaction=False) as pipeline:
        for name, node in nodes.items():
            pipeline.set(_key(name), json.dumps(dict(node)))
        pipeline.execute()


def _get_all(cache: Any) -> dict[str, str]:
    keys = sorted(cache.scan_iter(match=_key("*"), count=1000))
    values = cache.mget(keys) if keys else []
    return {key.removeprefix(_key("")): _node_name(value) for key, value in zip(keys, values, strict=True)}


def _node_name(value: str | None) -> str:
    try:
        return str(json.loads(value or "")["name"])
    except (ValueError, KeyError, TypeError):
        return ""


def _key(name: str) -> str:
    return f"vm:{name}"
