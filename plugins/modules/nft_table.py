#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module nft_table."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nft_table
short_description: Keep one table of nftables, without locking anybody out
version_added: 0.1.0
description:
  - Loads the rules of one table of family C(inet) and keeps them in a file for the next boot.
  - All other tables are left alone.
  - The rules are checked first, and all of them take effect in one moment.
  - After loading, a new connection is made to the host. If that fails, the old rules come back by themselves.
  - Rules that somebody changed by hand are loaded anew.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
requirements:
  - nftables and systemd on the host
attributes:
  action:
    support: full
    description: An action plugin runs the module a second time over a new connection.
  check_mode:
    support: full
    description: Changes nothing. The rules are checked where the host has nftables.
  diff_mode:
    support: full
    description: Shows the file before and after.
options:
  name:
    description: Name of the table.
    type: str
    required: true
  path:
    description: File that keeps the rules. Have it loaded at boot.
    type: path
    required: true
  rules:
    description: What stands between the braces of the table, as C(nft) takes it. Required where O(state=present).
    type: str
  state:
    description: Whether the table is there.
    type: str
    choices: [present, absent]
    default: present
  rollback_seconds:
    description: When the old rules come back unless the host was reached again by then.
    type: int
    default: 30
  step:
    description: Set by the action plugin, which first tries rules out and then keeps them.
    type: str
    choices: [try, keep]
    default: try
"""

EXAMPLES = r"""
- name: Let SSH in, and nothing else
  virtfleet.cloud.nft_table:
    name: mine
    path: /etc/mine.nft
    rules: |
      chain input {
          type filter hook input priority filter; policy drop;
          iifname "lo" accept
          ct state established,related accept
          tcp dport 22 accept
      }
"""

RETURN = r"""
# Only what all modules return.
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nft_table import run_nft_table

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "rules": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "rollback_seconds": {"type": "int", "default": 30},
    "step": {"type": "str", "choices": ["try", "keep"], "default": "try"},
}


def main() -> None:
    """Entry point of the module."""
    run_nft_table(
        AnsibleModule(
            argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_if=[("state", "present", ["rules"])]
        )
    )


if __name__ == "__main__":
    main()
