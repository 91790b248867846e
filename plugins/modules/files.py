#!/usr/bin/python
# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write several text files at once
version_added: 0.1.0
description:
  - Writes files with their owner, group and mode, all of them by one run on the host.
  - M(ansible.builtin.template) and M(ansible.builtin.copy) start two modules and three shells for each file, also where
    nothing is to be done, and a loop over them does so for each item. Use these for what is no text and for what has to
    be validated, and this one for files that belong together, and for single ones on many hosts.
  - A file is never half-written, and never readable by more than it shall be.
  - Directories that are missing are made with mode C(0755), those that are there stay as they are;
    use M(ansible.builtin.file) for one with another owner or mode.
  - Where one cannot be written, those before it in the list are.
author:
  - Contributors to virtfleet.cloud (@virtfleet)
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: full
    description: Shows each file before and after. Set C(no_log) where a text holds a secret.
options:
  files:
    description: The files, in the order in which they are written.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file is. A symbolic link is replaced.
        type: path
        required: true
      content:
        description: Its text, written as UTF-8.
        type: str
        required: true
      owner:
        description: User that it belongs to.
        type: str
        default: root
      group:
        description: Group that it belongs to.
        type: str
        default: root
      mode:
        description: Its permissions, like C("0644").
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Write a service and its timer
  virtfleet.cloud.files:
    files:
      - path: /etc/systemd/system/mine.service
        content: "{{ lookup('ansible.builtin.template', 'mine.service.j2') }}"
        mode: "0644"
      - path: /etc/systemd/system/mine.timer
        content: "{{ lookup('ansible.builtin.template', 'mine.timer.j2') }}"
        mode: "0644"
  register: units
  notify: Reload systemd

- name: Restart what has another timer
  ansible.builtin.systemd_service:
    name: mine.timer
    state: restarted
  when: "'/etc/systemd/system/mine.timer' in units.written"
"""

RETURN = r"""
written:
  description: Paths of the files whose text, owner, group or mode changed.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import run_files

ARGUMENT_SPEC = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "required": True},
        },
    }
}


def main() -> None:
    """Entry point of the module."""
    run_files(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
