# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module files does."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def run_files(module: AnsibleModule) -> None:
    """Write the files that differ, and end the module."""
    written: list[str] = []
    diffs: list[dict[str, Any]] = []
    for file in module.params["files"]:
        try:
            differences = _make_right(module, file)
        except (OSError, ValueError) as error:
            module.fail_json(msg=f"{file['path']} cannot be written: {error}", written=written)
        if differences:
            written.append(file["path"])
            diffs += differences
    module.exit_json(changed=bool(written), written=written, diff=diffs)


def _make_right(module: AnsibleModule, file: dict[str, Any]) -> list[dict[str, Any]]:
    """What differed of a file, as Ansible shows it; it no longer does, except in check mode."""
    path, wanted = file["path"], file["content"]
    differences: list[dict[str, Any]] = []
    before = _text(path)
    if before != wanted:
        differences.append({"before_header": path, "after_header": path, "before": before or "", "after": wanted})
        if not module.check_mode:
            _replace(module, file)
    attributes: dict[str, Any] = {}
    if module.set_fs_attributes_if_different(_attributes(module, file, path), False, diff=attributes):
        header = f"{path} (owner, group and mode)"
        differences.append({"before_header": header, "after_header": header, **attributes})
    return differences


def _text(path: str) -> str | None:
    """What is in a file, whatever its bytes; None where there is none."""
    if os.path.islink(path):
        return None
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _replace(module: AnsibleModule, file: dict[str, Any]) -> None:
    """Put a whole file, owner and mode included, in the place of the one that is there."""
    directory = os.path.dirname(file["path"])
    _make_directory(directory)
    descriptor, temporary = tempfile.mkstemp(prefix=".ansible_", dir=directory)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as new:
            new.write(file["content"])
        module.set_fs_attributes_if_different(_attributes(module, file, temporary), False)
        os.replace(temporary, file["path"])
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _make_directory(path: str) -> None:
    """Make a directory that is missing, and those above it. One that is there is left as it is."""
    if not path or os.path.isdir(path):
        return
    _make_directory(os.path.dirname(path))
    os.mkdir(path)
    # whatever the umask is
    os.chmod(path, 0o755)


def _attributes(module: AnsibleModule, file: dict[str, Any], path: str) -> dict[str, Any]:
    """Owner, group and mode of a file, as Ansible sets them."""
    attributes: dict[str, Any] = module.load_file_common_arguments(file, path=path)
    return attributes
