# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of the tests' own: the README's first command makes it, ./down takes it away."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAME = "virtfleet-test"
SUBNET = "10.89.45."
OPTIONS = ["--name", NAME, "--subnet", f"{SUBNET}0/24"]
MINUTE = 60
CA = "/etc/ssl/certs/virtfleet-ca.crt"
# They speak of this machine: of its disk's size, of one write that was slow, which stays said for a day, and of pings
# that answered late when their OSD was stopped, which count for a quarter of an hour.
EXPECTED_WARNINGS = {
    "MON_DISK_LOW",
    "BLUESTORE_SLOW_OP_ALERT",
    "OSD_SLOW_PING_TIME_BACK",
    "OSD_SLOW_PING_TIME_FRONT",
}


@dataclass(frozen=True)
class Lab:
    """Runs playbooks and commands on the lab."""

    inventory: Path
    up_output: str = ""
    name: str = NAME

    def play(
        self, playbook: str, *arguments: str, directory: Path = ROOT, minutes: int = 10, **variables: Any
    ) -> Result:
        command = ["ansible-playbook", "-i", str(self.inventory), playbook, "-e", json.dumps(variables), *arguments]
        environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        return Result.of(
            subprocess.run(
                command,
                cwd=directory,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=minutes * MINUTE,
            )
        )

    def hosts(self, group: str) -> list[str]:
        """Those of a group, none where the lab does not have it."""
        groups = yaml.safe_load(self.inventory.read_text())["all"]["children"]
        return list(groups.get(group, {}).get("hosts", {}))

    def address(self, host: str) -> str:
        """Where the inventory says that a host is."""
        return str(yaml.safe_load(self.inventory.read_text())["all"]["hosts"][host]["ansible_host"])

    def settings(self) -> dict[str, Any]:
        """What the inventory says to all hosts, secrets as well."""
        files = sorted((self.inventory.parent / "group_vars" / "all").glob("*.yml"))
        return {name: value for file in files for name, value in yaml.safe_load(file.read_text()).items()}

    def primary(self) -> str:
        """The database host that takes writes."""
        hosts = self.hosts("database")
        if len(hosts) == 1:
            return hosts[0]
        for host in hosts:
            with suppress(AssertionError):
                if self.sql("SELECT pg_is_in_recovery()", host) == "f":
                    return host
        raise AssertionError("no database host takes writes")

    def container(self, host: str) -> str:
        """What podman calls a host."""
        return f"{self.name}-{host}"

    def on(self, host: str, *command: str, minutes: int = 5, stdin: str = "") -> str:
        """The output of a command on a host, without Ansible in between."""
        run = ["podman", "exec", "--interactive", self.container(host), *command]
        done = subprocess.run(run, input=stdin, capture_output=True, text=True, timeout=minutes * MINUTE, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def python(self, host: str, script: str, *arguments: str, stdin: str = "") -> str:
        """The output of a Python script on a host, which trusts our CA and no other."""
        return self.on(host, "env", f"SSL_CERT_FILE={CA}", "python3", "-c", script, *arguments, stdin=stdin)

    def services(self, host: str) -> dict[str, str]:
        """Since when the services of a host run, by the clock of its boot; without what timers start."""
        running = "systemctl list-units --type service --state running --plain --no-legend"
        names = f"{running} | cut -d' ' -f1 | grep -v ^virtfleet-"
        shown = self.on(host, "sh", "-c", f"systemctl show --property Id,ActiveEnterTimestampMonotonic $({names})")
        units = [dict(line.split("=", 1) for line in unit.splitlines()) for unit in shown.strip().split("\n\n")]
        return {unit["Id"]: unit["ActiveEnterTimestampMonotonic"] for unit in units}

    @contextmanager
    def nothing_restarts(self, hosts: list[str]) -> Iterator[None]:
        """What runs on hosts runs on, whatever comes besides."""
        before = {host: self.services(host) for host in hosts}
        yield
        for host, services in before.items():
            now = self.services(host)
            assert {unit: now.get(unit) for unit in services} == services, host

    def has_grafana(self) -> bool:
        """Whether its package could be had."""
        there = "test -e /usr/share/grafana/conf/defaults.ini && echo yes || echo no"
        return self.on(self.hosts("monitoring")[0], "sh", "-c", there).strip() == "yes"

    def ceph(self, *command: str) -> Any:
        """What Ceph answers to a command."""
        return json.loads(self.on("node-1", "ceph", *command, "--format", "json"))

    def is_healthy(self) -> bool:
        """Whether Ceph has all copies of everything; asserts it, to tell what it lacks."""
        status = self.ceph("status")
        checks = set(status["health"]["checks"]) - EXPECTED_WARNINGS
        states = {state["state_name"] for state in status["pgmap"]["pgs_by_state"]}
        # A group that is being scrubbed is clean as well.
        unclean = {state for state in states if not state.startswith("active+clean")}
        assert not checks | unclean, checks | unclean
        return True

    def wait_for_health(self) -> None:
        """Until Ceph is healthy again."""
        until(self.is_healthy, "healthy", 5 * MINUTE)

    def wait_until_full(self, full: bool = True) -> None:
        """Until Ceph says that a pool has reached its quota, or that none has any more."""
        pools = ("ceph", "osd", "pool", "ls", "detail")
        until(lambda: ("full_quota" in self.on("node-1", *pools)) is full, f"full: {full}")

    @contextmanager
    def refused(self, host: str, match: str) -> Iterator[None]:
        """A host answers TCP that matches, in the words of nftables, by resets, also of connections that are there."""
        chain = f"type filter hook input priority -10; {match} reject with tcp reset"
        self.on(host, "nft", "--file", "/dev/stdin", stdin=f"table inet refused {{ chain input {{ {chain}; }}; }}")
        try:
            yield
        finally:
            self.on(host, "nft", "delete", "table", "inet", "refused")

    @contextmanager
    def away(self, host: str) -> Iterator[None]:
        """A host that takes no SSH connections and drops those it has."""
        with self.refused(host, "tcp dport 22"):
            yield

    def sql(self, query: str, host: str = "") -> str:
        """What the registry's database answers, unaligned: on the host that takes writes, or on a named one."""
        psql = ["psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "virtfleet", "--command", query]
        return self.on(host or self.primary(), "runuser", "-u", "postgres", "--", *psql).strip()

    def guest(self, name: str, command: str, tries: int = 20, minutes: int = 1) -> str:
        """The output of a command in the guest of a VM, as its user; a guest that still boots is waited for."""
        address, node = self.sql(
            f"SELECT host(ip), node FROM virtfleet.vm WHERE name = '{name}' AND state <> 'deleted'"
        ).split("|")
        ssh = self.inventory.parent / "ssh"
        # Nobody has told this machine the guest's host key.
        guest = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=10"]
        options = ["-F", str(ssh / "config"), "-i", str(ssh / "id_ed25519"), "-J", node]
        options += [part for option in guest for part in ("-o", option)]
        for _try in range(tries):
            done = subprocess.run(
                ["ssh", *options, f"debian@{address}", command],
                capture_output=True,
                text=True,
                timeout=minutes * MINUTE,
                check=False,
            )
            if done.returncode != 255:
                break
            time.sleep(3)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def vms(self, directory: Path) -> dict[str, dict[str, str]]:
        """The list of VMs by name."""
        file = directory / "vms.json"
        result = self.play("playbooks/list_vms.yml", file=str(file))
        assert result.ok, result.output
        return {vm["Name"]: vm for vm in json.loads(file.read_text())}


class Result:
    """What ansible-playbook said."""

    def __init__(self, output: str, ok: bool) -> None:
        self.output, self.ok = output, ok

    @classmethod
    def of(cls, process: subprocess.CompletedProcess[str]) -> Result:
        return cls(process.stdout + process.stderr, process.returncode == 0)

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """How many tasks of each host were ok, changed, unreachable, failed and so on."""
        recap = {}
        for line in self.output.splitlines():
            if " ok=" in line and " changed=" in line:
                host, _colon, *counts = line.split()
                recap[host] = {name: int(count) for name, count in (part.split("=") for part in counts)}
        return recap

    @property
    def changed_hosts(self) -> set[str]:
        return {host for host, counts in self.recap.items() if counts["changed"]}

    def changes(self, host: str) -> set[str]:
        """The tasks that changed a host."""
        tasks, task = set(), ""
        for line in self.output.splitlines():
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                task = line[line.index("[") + 1 : line.rindex("]")]
            elif line.startswith(f"changed: [{host}"):
                tasks.add(task)
        return tasks

    @property
    def unchanged(self) -> bool:
        """Whether no host of the recap changed."""
        return bool(self.recap) and not self.changed_hosts


def until(condition: Callable[[], bool], what: str, seconds: float = 3 * MINUTE, pause: float = 0.5) -> float:
    """The seconds until it was so; what is asserted meanwhile, like that a command works, is told if it never is."""
    begin, told = time.monotonic(), ""
    while time.monotonic() - begin < seconds:
        try:
            if condition():
                return time.monotonic() - begin
        except (AssertionError, subprocess.TimeoutExpired) as error:
            told = f": {error}"
        time.sleep(pause)
    raise AssertionError(f"{what}: not within {seconds} s{told}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--databases", default="1", help="how many database hosts the lab has, 1 or 3")
    parser.addoption("--keep-lab", action="store_true", help="leave the lab up for the next run (./down takes it away)")
    parser.addoption(
        "--on-lab",
        metavar="NAME=INVENTORY",
        help="test on a lab that is up already, like virtfleet-lab=inventories/lab/hosts.yml, and leave it up",
    )


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    if named := request.config.getoption("--on-lab", default=None):
        name, inventory = named.split("=", 1)
        there = Lab(Path(inventory).resolve(), name=name)
        hold_jobs(there)
        try:
            yield there
        finally:
            let_jobs_go(there)
        return
    databases = request.config.getoption("--databases", default="1")
    try:
        up = subprocess.run(
            [ROOT / "up", *OPTIONS, "--databases", databases],
            capture_output=True,
            text=True,
            check=False,
            timeout=45 * MINUTE,
        )
        assert up.returncode == 0, up.stdout + up.stderr
        print(up.stdout[up.stdout.index("\nPhases") :])
        made = Lab(ROOT / "inventories" / f"lab-{NAME}" / "hosts.yml", up.stdout)
        hold_jobs(made)
        yield made
    finally:
        if not request.config.getoption("--keep-lab", default=False):
            down = subprocess.run(
                [ROOT / "down", *OPTIONS], capture_output=True, text=True, check=False, timeout=5 * MINUTE
            )
            assert down.returncode == 0, down.stdout + down.stderr
            assert remains(NAME, SUBNET) == []


JOBS = ("refresh", "reconcile", "guests")
# A service whose condition does not hold is not run, and its timer is as site.yml made it.
HOLD = "/run/systemd/system/virtfleet-{}.service.d/hold.conf"


def hold_job(lab: Lab, job: str) -> None:
    file = HOLD.format(job)
    write = f"mkdir -p $(dirname {file}) && printf '[Unit]\nConditionPathExists=/nowhere\n' > {file}"
    lab.on("manager-1", "sh", "-c", f"{write} && systemctl daemon-reload")


def hold_jobs(lab: Lab) -> None:
    """What tests have made wrong is not to be put right by the manager meanwhile."""
    for job in JOBS:
        hold_job(lab, job)


def let_jobs_go(lab: Lab) -> None:
    """The manager works by itself again."""
    lab.on("manager-1", "sh", "-c", f"rm -f {' '.join(map(HOLD.format, JOBS))} && systemctl daemon-reload")


def run_job(lab: Lab, job: str) -> None:
    """A whole run of the manager's job, begun after what was done before; it is held again when it has ended.

    A start while the service runs already is no new run, and that one may have looked too early: so the timer is
    stopped, and a start that the condition forbids waits for a run that had begun.
    """
    service, timer = f"virtfleet-{job}.service", f"virtfleet-{job}.timer"
    lab.on("manager-1", "systemctl", "stop", timer)
    try:
        lab.on("manager-1", "systemctl", "start", service, minutes=10)
        lab.on("manager-1", "sh", "-c", f"rm -f {HOLD.format(job)} && systemctl daemon-reload")
        lab.on("manager-1", "systemctl", "start", service, minutes=10)
    finally:
        hold_job(lab, job)
        lab.on("manager-1", "systemctl", "start", timer)


def remains(name: str, subnet: str) -> list[str]:
    """What is left of a lab on this machine."""
    listings = [
        ["podman", "ps", "--all", "--format", "{{.Names}}"],
        ["podman", "network", "ls", "--format", "{{.Name}}"],
        ["podman", "images", "--format", "{{.Repository}}"],
        ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"],
        ["iptables-save"],
        ["nft", "list", "ruleset"],
        ["ip", "-oneline", "address"],
    ]
    lines = [
        line
        for command in listings
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ]
    paths = [ROOT / ".cache" / name, ROOT / "inventories" / f"lab-{name}"]
    return [line for line in lines if name in line or subnet in line] + [str(path) for path in paths if path.exists()]
