# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of nftables, kept in a file, and a timer of systemd that brings the old rules back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

FAMILY = "inet"


class NftTable:
    """The table of one name; all other tables are left alone."""

    def __init__(self, module: AnsibleModule, name: str, path: str) -> None:
        self._module = module
        self._nft = module.get_bin_path("nft")
        self._name = name
        self._path = Path(path)
        self._old = Path(f"/run/{name}-rollback.nft")
        self._timer = f"{name}-rollback"

    def is_known(self) -> bool:
        """Whether the host has nftables."""
        return self._nft is not None

    def text(self, rules: str) -> str:
        """A file that puts these rules in the place of the table's."""
        body = "".join(f"    {line}".rstrip() + "\n" for line in rules.strip().splitlines())
        return f"# Ansible managed\n{self._clear()}\ntable {FAMILY} {self._name} {{\n{body}}}\n"

    def kept(self) -> str:
        """What the file has, without its last line, and "" where the kernel has other rules than it had."""
        text, _newline, mark = self._file().rstrip("\n").rpartition("\n")
        return f"{text}\n" if mark == self._mark() else ""

    def shown(self) -> str:
        """What the file has for a diff."""
        return self._file().rpartition("# loaded as ")[0]

    def problem(self, text: str) -> str:
        """What nft has against the rules."""
        code, _out, error = self._run("-c", "-f", "-", data=text)
        return error if code else ""

    def try_out(self, text: str, seconds: int) -> None:
        """Load rules that go away again after these seconds unless they are kept."""
        if self._is_pending():
            # Whoever tried others did not come back to keep them.
            self._load(self._old.read_text())
            self._stop_timer()
        old = self._clear() + self._listing()
        self._old.touch(mode=0o600)
        self._old.write_text(old)
        self._command(
            ["systemd-run", "--quiet", "--collect", f"--unit={self._timer}", f"--on-active={seconds}s",
             "--timer-property=AccuracySec=100ms", self._nft or "nft", "-f", str(self._old)],
            "no timer that could bring the old rules back was to be had, so nothing was changed",
        )  # fmt: skip
        self._load(text)

    def keep(self, text: str) -> bool:
        """Have the rules that were tried stay; false where the old ones are back already."""
        if not self._is_pending():
            return False
        self._stop_timer()
        self._path.parent.mkdir(mode=0o755, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(f"{text}{self._mark()}\n")
        self._module.atomic_move(str(new), str(self._path))
        return True

    def is_there(self) -> bool:
        """Whether there is a file or a table."""
        return self._path.exists() or bool(self._listing())

    def remove(self) -> None:
        """Neither file nor table."""
        self._load(self._clear())
        self._path.unlink(missing_ok=True)

    def _clear(self) -> str:
        # The first line makes the second one work where there is no table yet.
        return f"table {FAMILY} {self._name}\ndelete table {FAMILY} {self._name}\n"

    def _file(self) -> str:
        return self._path.read_text() if self._path.exists() else ""

    def _mark(self) -> str:
        """A comment that changes with the rules that the kernel has, whoever changed them."""
        return f"# loaded as {hashlib.sha256(self._listing().encode()).hexdigest()}"

    def _listing(self) -> str:
        """The table as the kernel has it, without its counters."""
        # In numbers, as names depend on whether the host has /etc/protocols.
        code, out, _error = self._run("--numeric", "--stateless", "list", "table", FAMILY, self._name)
        return "" if code else out

    def _is_pending(self) -> bool:
        code, _out, _error = self._module.run_command(["systemctl", "--quiet", "is-active", f"{self._timer}.timer"])
        return bool(code == 0)

    def _stop_timer(self) -> None:
        self._command(["systemctl", "stop", f"{self._timer}.timer"], "the timer of the old rules cannot be stopped")
        self._old.unlink(missing_ok=True)

    def _load(self, text: str) -> None:
        code, _out, error = self._run("-f", "-", data=text)
        if code:
            self._module.fail_json(msg=f"nft did not load the rules: {error}")

    def _command(self, command: list[str], problem: str) -> None:
        code, out, error = self._module.run_command(command)
        if code:
            self._module.fail_json(msg=f"{problem}: {error or out}")

    def _run(self, *arguments: str, data: str | None = None) -> tuple[int, str, str]:
        if self._nft is None:
            return 127, "", "nft is not installed"
        done: tuple[int, str, str] = self._module.run_command([self._nft, *arguments], data=data)
        return done


def run_nft_table(module: AnsibleModule) -> None:
    """What module nft_table does."""
    options = module.params
    table = NftTable(module, options["name"], options["path"])
    if options["state"] == "absent":
        _remove(module, table)
    elif options["step"] == "keep":
        _keep(module, table, table.text(options["rules"]))
    else:
        _try(module, table, table.text(options["rules"]))


def _remove(module: AnsibleModule, table: NftTable) -> None:
    changed = table.is_there()
    before = table.shown()
    if changed and not module.check_mode:
        table.remove()
    module.exit_json(changed=changed, diff={"before": before, "after": ""})


def _try(module: AnsibleModule, table: NftTable, text: str) -> None:
    result: dict[str, Any] = {"changed": table.kept() != text, "diff": {"before": table.shown(), "after": text}}
    if not result["changed"]:
        module.exit_json(**result)
    if not table.is_known():
        if module.check_mode:
            # In a run a package would have brought it by now.
            module.exit_json(**result)
        module.fail_json(msg="There is no nft on this host: install the package nftables.")
    if problem := table.problem(text):
        module.fail_json(msg=f"nft refuses the rules, and nothing was changed: {problem}")
    if not module.check_mode:
        table.try_out(text, module.params["rollback_seconds"])
    module.exit_json(**result)


def _keep(module: AnsibleModule, table: NftTable, text: str) -> None:
    if not table.keep(text):
        module.fail_json(
            msg=f"The old rules came back after {module.params['rollback_seconds']} s, before this host was reached"
            " again: the new ones keep the controller out, or the host is slow (rollback_seconds)."
        )
    module.exit_json(changed=True)
