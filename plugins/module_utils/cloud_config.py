# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks of the guest's first boot: simple wishes and a cloud-config of their own, merged as data. Pure.

Format: https://docs.cloud-init.io, modules package_update_upgrade_install, timezone, write_files and runcmd.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import Backend, Invalid

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?")
_TIMEZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")
_PERMISSIONS = re.compile(r"0?[0-7]{3,4}")
_FILE_KEYS = ("path", "content", "permissions", "owner")


def requested_cloud_config(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """One cloud-config of the variables packages, timezone, files, commands and user_data, the last on top.

    Returns:
        None where none of them is given.

    Raises:
        Invalid: with everything that is wrong. It never quotes contents, which may hold secrets.
    """
    problems: list[str] = []
    merged: dict[str, Any] = {}
    for name, read in _WISHES.items():
        if request.get(name) is not None:
            merged = merge(merged, read(request[name], problems))
    try:
        own = parse_user_data(request.get("user_data"))
    except Invalid as error:
        problems += error.problems
        own = None
    if problems:
        raise Invalid(problems)
    return own if not merged else merge(merged, own or {})


def _packages(value: Any, problems: list[str]) -> dict[str, Any]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and _PACKAGE.fullmatch(name) for name in names):
        problems.append("packages is not a list of names of packages")
        return {}
    return {"package_update": True, "packages": names}


def _timezone(value: Any, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, str) or not _TIMEZONE.fullmatch(value):
        problems.append(f"timezone {value!r} is no name like Europe/Berlin")
    return {"timezone": value}


def _files(value: Any, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, list) or not all(isinstance(file, Mapping) for file in value):
        problems.append("files is not a list of mappings (path, content, permissions, owner)")
        return {}
    for file in value:
        path = file.get("path")
        problems += [f"files: {path}: there is no {key}" for key in sorted(set(file) - set(_FILE_KEYS))]
        if not isinstance(path, str) or not path.startswith("/"):
            problems.append(f"files: path {path!r} is not absolute")
        if not isinstance(file.get("content"), str):
            problems.append(f"files: {path}: content is not text")
        if "permissions" in file and not _PERMISSIONS.fullmatch(str(file["permissions"])):
            problems.append(f"files: {path}: permissions {file['permissions']!r} are not like '0644' (in quotes)")
    # Only when users and packages are there, so that an owner can be any of them.
    return {"write_files": [{**file, "defer": True} for file in value]}


def _commands(value: Any, problems: list[str]) -> dict[str, Any]:
    commands = [value] if isinstance(value, str) else value
    if not isinstance(commands, list) or not all(isinstance(command, (str, list)) for command in commands):
        problems.append("commands is not a list of commands, each text for the shell or a list of arguments")
        return {}
    return {"runcmd": commands}


_WISHES: dict[str, Callable[[Any, list[str]], dict[str, Any]]] = {
    "packages": _packages,
    "timezone": _timezone,
    "files": _files,
    "commands": _commands,
}


def parse_user_data(value: Any) -> Mapping[str, Any] | None:
    """The user's cloud-config as a mapping, from a mapping or from YAML text.

    Raises:
        Invalid: it is not YAML, or not a mapping. The message never quotes it, as it may hold secrets.
    """
    if value is None or isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        raise Invalid(["user_data is neither a mapping nor YAML text"])
    yaml = _yaml()
    try:
        data = yaml.safe_load(value)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Invalid([f"user_data is not valid YAML{where}"]) from None
    if not isinstance(data, Mapping):
        raise Invalid(["user_data is not a cloud-config mapping"])
    return data


def _yaml() -> Any:
    """PyYAML, loaded only where there is text to read: loading it costs as much as cloning a volume."""
    try:
        import yaml
    except ImportError:
        hint = "Install python3-yaml, or give user_data as a mapping."
        raise Backend("Reading user_data needs PyYAML", hint) from None
    return yaml


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """A cloud-config on top of another: mappings merge, lists are appended, the rest is replaced."""
    merged = dict(base)
    for key, value in top.items():
        here = merged.get(key)
        if isinstance(here, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(here, value)
        elif isinstance(here, list) and isinstance(value, list):
            merged[key] = here + value
        else:
            merged[key] = value
    return merged
