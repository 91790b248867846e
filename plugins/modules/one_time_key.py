#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of one_time_key; it is implemented as an action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: one_time_key
short_description: Make an SSH key pair that is kept nowhere
version_added: 0.2.0
description:
  - Makes an Ed25519 key pair in the memory of the controller. Nothing is written; every call makes another one.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
requirements:
  - cryptography, on the controller, which ansible-core needs too
attributes:
  action:
    support: full
    description: Implemented as an action plugin.
  check_mode:
    support: full
    description: Makes a pair as well, as nothing is kept of it.
  diff_mode:
    support: N/A
    description: Changes nothing.
options: {}
"""

EXAMPLES = r"""
- name: Make a key
  virtfleet.cloud.one_time_key:
  register: key
  no_log: true
"""

RETURN = r"""
private:
  description: The private key in OpenSSH's format, without a passphrase. Give the task C(no_log).
  returned: success
  type: str
public:
  description: The public key as one line.
  returned: success
  type: str
  sample: ssh-ed25519 AAAA...
"""
