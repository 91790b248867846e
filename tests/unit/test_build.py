# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-galaxy puts into the archive of the collection."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Where users keep what is theirs, by docs/deploy.md and docs/certificates.md, and what tools leave behind.
PRIVATE = (
    "inventories/production/group_vars/all/secrets.yml",
    "inventories/production/group_vars/all/vault.yml",
    "inventories/production/pki/ca.key",
    "inventories/lab/hosts.yml",
    "inventories/lab-virtfleet-test/ssh/id_ed25519",
    ".cache/virtfleet-lab/key",
    ".hypothesis/example",
)


def test_nothing_of_users_is_in_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (*PRIVATE, "inventories/example/hosts.yml"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    for name in ("galaxy.yml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), str(source)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        files = {member.name for member in content if member.isfile()}
    assert files == {"MANIFEST.json", "FILES.json", "README.md", "LICENSE", "inventories/example/hosts.yml"}
