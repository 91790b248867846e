# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the table of variables of every role's README.md from its argument specs; --check only names the stale ones."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"
HEADING = "## Variables"
HEAD = "| variable | default | meaning |\n|---|---|---|\n"


def main() -> None:
    """Write what is stale, or with --check exit with its names."""
    stale = {}
    for readme in sorted(ROLES.glob("*/README.md")):
        text = readme.read_text()
        wanted = _replaced(text, _table(readme.parent))
        if text != wanted:
            stale[readme] = wanted
    if "--check" in sys.argv:
        sys.exit("".join(f"{readme}: the table of variables is stale\n" for readme in stale) or 0)
    for readme, wanted in stale.items():
        readme.write_text(wanted)


def _table(role: Path) -> str:
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]
    return HEAD + "".join(_row(name, option) for name, option in options.items())


def _row(name: str, option: dict[str, Any]) -> str:
    description = option["description"]
    meaning = _markdown(" ".join(description) if isinstance(description, list) else description)
    if "choices" in option:
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
    return f"| `{name}` | `{_cell(option['default'])}` | {meaning} |\n"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text.replace("|", "\\|")


def _markdown(text: str) -> str:
    """Ansible's semantic markup as Markdown."""
    return re.sub(r"\b[COV]\(([^)]*)\)", r"`\1`", text).replace("|", "\\|")


def _replaced(readme: str, table: str) -> str:
    """The README with this table as its section on variables, which is its last one where there was none."""
    before, found, after = readme.partition(f"\n{HEADING}\n")
    following = re.search(r"^## ", after, re.MULTILINE) if found else None
    rest = "\n" + after[following.start() :] if following else ""
    return f"{before.rstrip()}\n\n{HEADING}\n\n{table}{rest}"


if __name__ == "__main__":
    main()
