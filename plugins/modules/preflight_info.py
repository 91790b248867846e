#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module preflight_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Read what decides whether a host can be deployed
version_added: 0.1.0
description:
  - Reads distribution, clock, memory, room, devices, ports and addresses of a host on which nothing is installed yet.
  - The filter P(virtfleet.cloud.preflight_findings#filter) judges it.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
requirements:
  - wipefs and ip, which every Debian has, on the host
extends_documentation_fragment:
  - virtfleet.cloud.reads
attributes:
  action:
    support: full
    description: An action plugin measures how far the clocks of the host and the controller are apart.
options:
  devices:
    description: Block devices to look for data on.
    type: list
    elements: str
    default: []
  paths:
    description: Directories whose free space is wanted, whether they are there or not.
    type: list
    elements: str
    default: [/var]
"""

EXAMPLES = r"""
- name: Look at the host
  virtfleet.cloud.preflight_info:
    devices: [/dev/sdb]
  register: host
"""

RETURN = r"""
host:
  description: What was read.
  returned: success
  type: dict
  sample: {distribution: debian, release: "13", memory_mib: 64221, is_root: true}
seconds_apart:
  description: How far its clock is ahead of the controller's.
  returned: success
  type: float
seconds_unsure:
  description: By how much this can be wrong.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_report import report
from ..module_utils.preflight_host import PORTS

ARGUMENT_SPEC = {
    "devices": {"type": "list", "elements": "str", "default": []},
    "paths": {"type": "list", "elements": "str", "default": ["/var"]},
}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    ports = [entry.port for entry in PORTS]
    module.exit_json(changed=False, host=report(module, ports=ports, **module.params))


if __name__ == "__main__":
    main()
