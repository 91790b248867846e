# SPDX-License-Identifier: GPL-3.0-or-later
"""Give ansible-test a pip bootstrap that needs no download.

`ansible-test --requirements` fetches get-pip from a host of the Ansible project, which firewalls often refuse, and
takes it from its cache when it is there. Python brings the same with it, as `ensurepip`. What is in the cache stays.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from ansible_test._internal import python_requirements

BOOTSTRAP = '''\
"""Bootstrap pip by ensurepip, then install what was asked for."""
import subprocess
import sys

OPTIONS_OF_GET_PIP = {"--no-setuptools", "--no-wheel"}
subprocess.check_call([sys.executable, "-m", "ensurepip"])
wanted = [argument for argument in sys.argv[1:] if argument not in OPTIONS_OF_GET_PIP]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *wanted]))
'''


def pip_versions() -> set[str]:
    """The pip versions that this ansible-test may ask for."""
    requirements = Path(inspect.getfile(python_requirements)).parent.parent / "_data" / "requirements"
    texts = [inspect.getsource(python_requirements), *(path.read_text() for path in requirements.glob("*.txt"))]
    return {version for text in texts for version in re.findall(r"pip\D{1,8}([0-9]+(?:\.[0-9]+){1,2})", text)}


def main() -> None:
    """Fill the cache."""
    cache = Path.home() / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in pip_versions():
        path = cache / f"get_pip_{version.replace('.', '_')}.py"
        if not path.exists():
            path.write_text(BOOTSTRAP)


if __name__ == "__main__":
    main()
