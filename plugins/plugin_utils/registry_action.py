# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's action plugins share.

They are action plugins, not modules, because the registry is talked to by the controller only: its credentials never
leave this process, and no module has to be started.
"""

from __future__ import annotations

import getpass
import socket
from typing import Any, ClassVar

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.errors import Invalid, VirtfleetError
from ..module_utils.registry import Change, Registry
from ..module_utils.registry_cache import CacheSettings
from ..module_utils.registry_connection import Settings

_VARIABLES = {
    "host": "registry_host",
    "port": "registry_port",
    "database": "registry_name",
    "user": "registry_user",
    "password": "registry_password",
    "ca_file": "registry_ca_file",
}
_CACHE_VARIABLES = {
    "host": "registry_redis_host",
    "port": "registry_redis_port",
    "user": "registry_redis_user",
    "password": "registry_redis_password",
    "tls": "registry_redis_tls",
    "ca_file": "registry_ca_file",
}
_NEEDED = ("host", "user", "password", "ca_file")


class RegistryAction(ActionBase):
    """Validates the arguments, opens the registry, and gives results and errors their shape.

    Attributes:
        flavors: the named sizes of the inventory (vm_flavors).
        default_keys: the public keys of the inventory (vm_ssh_authorized_keys).
    """

    TRANSFERS_FILES = False
    ARGUMENT_SPEC: ClassVar[dict[str, Any]] = {}

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """What this plugin does; returns the result."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Entry point."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(self.ARGUMENT_SPEC)
        check = boolean(self._task.check_mode)
        self.flavors: dict[str, Any] = self._templar.template(variables.get("vm_flavors") or {})
        self.default_keys: list[str] = self._templar.template(variables.get("vm_ssh_authorized_keys") or [])
        try:
            with Registry(self._settings(variables), Display().warning, check) as registry:
                result |= self.act(registry, arguments, _actor(variables))
        except VirtfleetError as error:
            result |= {"failed": True, "msg": str(error), "error": error.as_result()}
        return result

    def _settings(self, variables: dict[str, Any]) -> Settings:
        values = self._values(_VARIABLES, variables)
        missing = [f"{_VARIABLES[name]} is not set" for name in _NEEDED if name not in values]
        if missing:
            raise Invalid(
                missing,
                "The registry's place is not known",
                "Give the inventory with -i; the lab's is inventories/lab/hosts.yml, made by ./up.",
            )
        return Settings(**values, cache=CacheSettings(**self._values(_CACHE_VARIABLES, variables)))

    def _values(self, names: dict[str, str], variables: dict[str, Any]) -> dict[str, Any]:
        """The settings that are among the variables."""
        values = {
            name: self._templar.template(variables[variable])
            for name, variable in names.items()
            if variables.get(variable) is not None
        }
        kinds = {"port": int, "tls": boolean}
        return values | {name: kind(values[name]) for name, kind in kinds.items() if name in values}


class ListAction(RegistryAction):
    """Reads all of one kind.

    Attributes:
        KIND: what it reads, by the name of the registry's method and of the result.
    """

    KIND: ClassVar[str]

    def act(self, registry: Registry, arguments: dict[str, Any], actor: str) -> dict[str, Any]:
        """Read only."""
        return {"changed": False, self.KIND: getattr(registry, self.KIND)()}


def change_result(change: Change) -> dict[str, Any]:
    """`changed` and `diff` of a result."""
    return {"changed": change.changed, "diff": {"before": change.before, "after": change.after}}


def _actor(variables: dict[str, Any]) -> str:
    """Who does it: the AWX user and job, or the person on this machine."""
    if variables.get("awx_user_name"):
        return f"{variables['awx_user_name']} (AWX job {variables.get('awx_job_id', '?')})"
    return f"{getpass.getuser()}@{socket.gethostname()}"
