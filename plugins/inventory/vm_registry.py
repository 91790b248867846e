# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory plugin vm_registry."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vm_registry
short_description: The virtual machines in the registry as an inventory
version_added: 0.1.0
author:
  - Contributors to virtfleet.cloud (@virtfleet)
description:
  - Every VM that is not deleted is a host. Its variables begin with C(vm_); C(ansible_host) is its address where that
    is known, and C(ansible_user) its guest's user.
  - Its groups are C(node_<node>), C(state_<state>), C(project_<project>), C(image_<image>) and C(tag_<tag>) for each of
    its tags, with everything but letters and digits as C(_).
  - The file's name ends in C(virtfleet.yml) or C(virtfleet.yaml).
  - When the registry cannot be read this fails. Ansible goes on without the hosts all the same, unless
    C(any_unparsed_is_failed) is set in C([inventory]) of C(ansible.cfg).
requirements:
  - psycopg2
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Has to be C(virtfleet.cloud.vm_registry).
    type: str
    required: true
    choices: [virtfleet.cloud.vm_registry]
  host:
    description: Host of the registry.
    type: str
    required: true
    env:
      - name: VIRTFLEET_REGISTRY_HOST
  port:
    description: Its port.
    type: int
    default: 5432
    env:
      - name: VIRTFLEET_REGISTRY_PORT
  database:
    description: Name of the database.
    type: str
    default: virtfleet
    env:
      - name: VIRTFLEET_REGISTRY_NAME
  user:
    description: A user that may read; role postgresql makes V(virtfleet_ro).
    type: str
    default: virtfleet_ro
    env:
      - name: VIRTFLEET_REGISTRY_USER
  password:
    description: Its password. Better kept in O(password_file) or the environment.
    type: str
    env:
      - name: VIRTFLEET_REGISTRY_PASSWORD
  password_file:
    description: File with the password, relative to the inventory's file.
    type: str
  ca_file:
    description: Certificate that the server's is verified by, relative to the inventory's file.
    type: str
    required: true
    env:
      - name: VIRTFLEET_REGISTRY_CA_FILE
  projects:
    description: Only VMs of these projects.
    type: list
    elements: str
    default: []
  states:
    description: Only VMs in these states.
    type: list
    elements: str
    default: []
  nodes:
    description: Only VMs on these nodes.
    type: list
    elements: str
    default: []
  tags:
    description: Only VMs with one of these tags.
    type: list
    elements: str
    default: []
  ssh_common_args:
    description:
      - Arguments of ssh for the guests, C(ansible_ssh_common_args). C({node}) and C({node_address}) in it are the node
        of the VM. V(-J {node_address}) reaches guests that only their node reaches.
    type: str
  use_stale_on_error:
    description: When the registry cannot be read, take what is in the cache, however old it is, and warn.
    type: bool
    default: false
"""

EXAMPLES = r"""
# web.virtfleet.yml
plugin: virtfleet.cloud.vm_registry
host: 10.0.0.21
password_file: registry.password
ca_file: pki/ca.crt
states: [running]
ssh_common_args: -J {node_address}
keyed_groups:
  - {prefix: size, key: "vm_memory_mib > 4096 and 'large' or 'small'"}
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/virtfleet
cache_timeout: 60
use_stale_on_error: true
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable, get_cache_plugin
from ansible.utils.display import Display
from ansible.utils.unsafe_proxy import wrap_var

from ..module_utils.errors import VirtfleetError
from ..module_utils.registry_connection import Settings
from ..module_utils.registry_inventory import VARIABLES, InventoryReader

try:
    # Without it, ansible-core 2.19 exports a text as {"__ansible_unsafe": text}, and AWX shows that to its clients.
    from ansible.template import trust_as_template as trust
except ImportError:

    def trust(value: str) -> str:
        """A text as it is, which ansible-core 2.18 takes at its word."""
        return value


_FILTERS = ("projects", "states", "nodes", "tags")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Reads the registry, or the cache, and adds hosts, variables and groups."""

    NAME = "virtfleet.cloud.vm_registry"

    def verify_file(self, path: str) -> bool:
        """Whether the file may be meant for us."""
        return bool(super().verify_file(path)) and path.endswith(("virtfleet.yml", "virtfleet.yaml"))

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Entry point."""
        super().parse(inventory, loader, path)
        self._read_config_data(path)
        self._folder = Path(path).resolve().parent
        self._add(self._rows(path, cache))

    def _rows(self, path: str, cache: bool) -> list[list[Any]]:
        """What InventoryReader.rows returns, from the cache as long as that is young enough."""
        if not self.get_option("cache"):
            return self._read()
        self.load_cache_plugin()
        key = self.get_cache_key(f"{path} {[self.get_option(name) for name in _FILTERS]}")
        kept = self._kept(key)
        # What is of the future, by a clock that was put back since, is as good as too old.
        if cache and kept and 0 <= time.time() - kept["at"] < self.get_option("cache_timeout"):
            return _unpacked(kept)
        try:
            rows = self._read()
        except AnsibleParserError as error:
            if not kept or not self.get_option("use_stale_on_error"):
                raise
            age = round(time.time() - kept["at"])
            Display().warning(f"{error} What the cache has of {age} s ago is taken instead.")
            return _unpacked(kept)
        # One text, as cache plugins look at every single value of what is not.
        self._cache[key] = {"at": time.time(), "text": json.dumps(rows)}
        return rows

    def load_cache_plugin(self) -> None:
        """The cache of the options, which never forgets: how old is too old is decided here, and depends."""
        options = {"_uri": self.get_option("cache_connection"), "_prefix": self.get_option("cache_prefix")}
        given = {name: value for name, value in options.items() if value is not None}
        self._cache = get_cache_plugin(self.get_option("cache_plugin"), _timeout=0, **given)

    def _kept(self, key: str) -> dict[str, Any] | None:
        try:
            kept = dict(self._cache[key])
        except KeyError:
            return None
        return kept if "text" in kept else None

    def _read(self) -> list[list[Any]]:
        try:
            with InventoryReader(self._settings()) as reader:
                return reader.rows({name: self.get_option(name) for name in _FILTERS})
        except VirtfleetError as error:
            raise AnsibleParserError(f"The registry could not be read: {error}") from None

    def _settings(self) -> Settings:
        password = self.get_option("password")
        if password is None:
            file = self.get_option("password_file")
            if file is None:
                raise AnsibleParserError("One of password and password_file is needed to read the registry.")
            password = (self._folder / Path(file).expanduser()).read_text().strip()
        return Settings(
            host=self.get_option("host"),
            port=self.get_option("port"),
            database=self.get_option("database"),
            user=self.get_option("user"),
            password=password,
            ca_file=str(self._folder / Path(self.get_option("ca_file")).expanduser()),
        )

    def _add(self, rows: list[list[Any]]) -> None:
        inventory, constructs = self.inventory, self._constructs()
        ssh = self.get_option("ssh_common_args")
        for group in sorted({group for row in rows for group in row[1]}):
            inventory.add_group(group)
        for name, groups, *values in rows:
            inventory.add_host(name)
            variables = dict(zip(VARIABLES, values, strict=True))
            variables = {key: _as_data(value) for key, value in variables.items()}
            variables |= _connection(variables, ssh)
            # What set_variable would look at for each: the names are ours, and the values no templates.
            inventory.hosts[name].vars.update(variables)
            for group in groups:
                inventory.add_child(group, name)
            if constructs:
                self._construct(name, variables)

    def _constructs(self) -> bool:
        return any(self.get_option(name) for name in ("compose", "groups", "keyed_groups"))

    def _construct(self, name: str, variables: dict[str, Any]) -> None:
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def _unpacked(kept: dict[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = json.loads(kept["text"])
    return rows


def _connection(variables: dict[str, Any], ssh: str | None) -> dict[str, Any]:
    """How Ansible gets into the guest."""
    found = {"ansible_user": variables["vm_guest_user"]}
    if variables["vm_ip"] is not None:
        found["ansible_host"] = variables["vm_ip"]
    if ssh is not None:
        found["ansible_ssh_common_args"] = ssh.replace("{node}", variables["vm_node"]).replace(
            "{node_address}", variables["vm_node_address"]
        )
    return found


def _as_data(value: Any) -> Any:
    """The value, which is never a template whatever a user wrote into it."""
    if isinstance(value, str):
        return wrap_var(value) if "{" in value else trust(value)
    if isinstance(value, list):
        return [_as_data(item) for item in value]
    return value
