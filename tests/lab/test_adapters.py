# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""The adapters' suite on a node, against its Ceph and its libvirt."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile

from .conftest import ROOT, Lab

DIRECTORY = "/root/adapters"
COLLECTION = "ansible_collections/virtfleet/cloud"
DOUBLES = tuple(f"tests/unit/doubles{kind}.py" for kind in ("", "_backup", "_migration", "_snapshot"))
NEEDED = ("plugins/module_utils", "tests/__init__.py", "tests/adapters", *DOUBLES)


def parcel() -> bytes:
    """What the suite needs, as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in NEEDED:
            archive.add(
                ROOT / path,
                f"{COLLECTION}/{path}",
                filter=lambda entry: None if "__pycache__" in entry.name else entry,
            )
    return buffer.getvalue()


def test_the_real_ones_keep_what_the_doubles_promise(lab: Lab) -> None:
    lab.on("node-1", "apt-get", "install", "--yes", "--no-install-recommends", "python3-pytest", minutes=10)
    lab.on("node-1", "mkdir", "-p", DIRECTORY)
    command = ["podman", "exec", "--interactive", f"{lab.name}-node-1", "tar", "-x", "-C", DIRECTORY]
    subprocess.run(command, input=parcel(), check=True, timeout=60)
    suite = (
        f"cd {DIRECTORY}/{COLLECTION} && PYTHONPATH={DIRECTORY} python3 -m pytest -q tests/adapters --real 2>&1 || true"
    )
    output = lab.on("node-1", "sh", "-c", suite, minutes=15)
    closing = output.strip().splitlines()[-1]
    passed = re.search(r"(\d+) passed", closing)
    assert passed and "failed" not in closing and "error" not in closing and "skipped" not in closing, output
    # Ceph once, libvirt twice: on QEMU and on its test driver.
    assert int(passed[1]) >= 30
    print(f"adapters: {closing}")
