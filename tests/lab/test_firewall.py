# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches what, seen from hosts, from outside and from guests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Lab, Result, until

pytestmark = pytest.mark.slow

# Nobody's (RFC 5737), and so not in the management network.
OUTSIDE = "192.0.2.1"
SERVER = "node-1"
OTHER = "node-2"
# Let in from everywhere, as docs/firewall.md says: on all hosts, and on outer proxies.
OPEN, OPEN_ON_PROXIES = {22}, {80, 443}
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2, (sys.argv[3], 0))"
# Ceph's monitor of a node, and a port that the table has nothing of.
MONITOR, UNKNOWN = 3300, 4444


def addresses(lab: Lab) -> dict[str, str]:
    hosts = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"]
    return {name: host["ansible_host"] for name, host in hosts.items()}


def firewall(lab: Lab, *arguments: str, **variables: Any) -> Result:
    return lab.play("playbooks/site.yml", "--tags", "firewall", *arguments, **variables)


def reaches(lab: Lab, host: str, address: str, port: int, source: str = "0.0.0.0", *within: str) -> bool:
    """Whether a connection is made; one that is refused by a closed port is not."""
    command = [*within, "python3", "-c", CONNECT, address, str(port), source]
    done = lab.on(host, "sh", "-c", '"$@" >/dev/null 2>&1 && echo reached || echo failed', "-", *command)
    return done.strip() == "reached"


# At once, as what is dropped is waited for.
TRY = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def answers(place):
    address, port = place.split(":")
    try:
        socket.create_connection((address, int(port)), 5, (sys.argv[1], 0)).close()
    except OSError:
        return False
    return True

places = sys.argv[2:]
with ThreadPoolExecutor(len(places)) as pool:
    print(*(place for place, answered in zip(places, pool.map(answers, places)) if answered))
"""


def that_answer(lab: Lab, host: str, places: list[str], source: str = "0.0.0.0") -> set[int]:
    """The ports of places (ADDRESS:PORT) where a connection from a host is made."""
    answered = lab.on(host, "python3", "-c", TRY, source, *places).split()
    return {int(place.partition(":")[2]) for place in answered}


def served(lab: Lab, host: str) -> list[str]:
    """Where a host listens by TCP for others, as ADDRESS:PORT."""
    places = set()
    for line in lab.on(host, "ss", "-Hltn").splitlines():
        address, _colon, port = line.split()[3].rpartition(":")
        address = lab.address(host) if address in ("*", "0.0.0.0", "[::]") else address.partition("%")[0]
        places.add(f"{address}:{port}")
    # Of IPv6 the lab's hosts have addresses that nobody routes.
    return sorted(place for place in places if not place.startswith(("127.", "[")))


@contextmanager
def listening(lab: Lab, host: str, *ports: int) -> Iterator[None]:
    """Something on ports that may have nothing of their own."""
    serve = "import socket, time; held = [socket.create_server(('', int(p))) for p in '{}'.split()]; time.sleep(600)"
    text = serve.format(" ".join(map(str, ports)))
    lab.on(host, "systemd-run", "--quiet", "--collect", "--unit=listener", "python3", "-c", text)
    try:
        lab.on(
            host,
            "sh",
            "-c",
            f"for i in $(seq 50); do ss -Hltn 'sport = {ports[-1]}' | grep -q . && exit; sleep 0.1; done; exit 1",
        )
        yield
    finally:
        lab.on(host, "systemctl", "stop", "listener")


@contextmanager
def stranger(lab: Lab, host: str, server: str) -> Iterator[str]:
    """An address of a host that is nobody's, and that the server knows the way to."""
    device = f"dev {lab.on(host, 'ip', '-oneline', 'route', 'show', 'default').split()[4]}"
    lab.on(host, "sh", "-c", f"ip address add {OUTSIDE}/32 {device}")
    lab.on(server, "ip", "route", "add", OUTSIDE, "via", lab.address(host))
    try:
        yield OUTSIDE
    finally:
        lab.on(server, "ip", "route", "del", OUTSIDE)
        lab.on(host, "sh", "-c", f"ip address del {OUTSIDE}/32 {device}")


@pytest.fixture
def outside(lab: Lab) -> Iterator[str]:
    """An address of OTHER that SERVER knows the way to."""
    with stranger(lab, OTHER, SERVER) as address:
        yield address


@contextmanager
def routed(lab: Lab, host: str, server: str, places: list[str]) -> Iterator[None]:
    """The way from a host to all addresses of another one, like that of its guests' network."""
    inner = sorted({place.partition(":")[0] for place in places} - {lab.address(server)})
    try:
        for address in inner:
            lab.on(host, "ip", "route", "replace", address, "via", lab.address(server))
        yield
    finally:
        for address in inner:
            lab.on(host, "ip", "route", "flush", address)


@pytest.fixture
def guest(lab: Lab) -> Iterator[tuple[str, ...]]:
    """How to run a command on SERVER as a guest that is on libvirt's network, without one that boots."""
    subnet = (
        lab.on(SERVER, "sh", "-c", "ip -oneline -4 address show virbr0 | awk '{print $4}'").strip().rsplit(".", 1)[0]
    )
    made = f"""
        ip netns add guest
        ip link add guest0 type veth peer name eth0 netns guest
        ip link set guest0 master virbr0 up
        ip -n guest address add {subnet}.9/24 dev eth0
        ip -n guest link set eth0 up
        ip -n guest route add default via {subnet}.1
    """
    lab.on(SERVER, "sh", "-e", "-c", made)
    command = ("ip", "netns", "exec", "guest")
    try:
        # The bridge passes nothing on from a new port before it has listened for some seconds.
        until(lambda: reaches(lab, SERVER, f"{subnet}.1", 53, "0.0.0.0", *command), "the guest's gateway", 30)
        yield command
    finally:
        lab.on(SERVER, "ip", "netns", "del", "guest")


def test_hosts_are_let_in_and_others_are_not(lab: Lab, outside: str) -> None:
    server = lab.address(SERVER)
    # A deployed lab has a monitor of its own.
    with nullcontext() if reaches(lab, SERVER, server, MONITOR) else listening(lab, SERVER, MONITOR):
        assert reaches(lab, OTHER, server, MONITOR)
        assert not reaches(lab, OTHER, server, MONITOR, outside)
    with listening(lab, SERVER, UNKNOWN):
        assert reaches(lab, SERVER, server, UNKNOWN)
        assert not reaches(lab, OTHER, server, UNKNOWN)
    # SSH shows that the way from outside is there.
    assert reaches(lab, OTHER, server, 22, outside)


def test_from_outside_nothing_answers_but_what_is_open_to_all(lab: Lab) -> None:
    for server in addresses(lab):
        host = OTHER if server != OTHER else SERVER
        places = served(lab, server)
        with stranger(lab, host, server) as source, routed(lab, host, server, places):
            to_strangers, to_hosts = that_answer(lab, host, places, source), that_answer(lab, host, places)
        print(f"{server}, of {len(places)}: {sorted(to_hosts)} answer hosts, {sorted(to_strangers)} strangers")
        assert to_strangers == OPEN | (OPEN_ON_PROXIES if server in lab.hosts("external_haproxy") else set()), server
        # Like the node exporter: what is silent to strangers does serve.
        assert 9100 in to_hosts and len(to_hosts - to_strangers) >= 3, server


def test_a_guest_reaches_no_service_of_hosts_though_its_node_does(lab: Lab, guest: tuple[str, ...]) -> None:
    other = lab.address(OTHER)
    # A deployed lab has an OSD of its own.
    with nullcontext() if reaches(lab, SERVER, other, 6800) else listening(lab, OTHER, 6800):
        assert reaches(lab, SERVER, other, 6800)
        assert not reaches(lab, SERVER, other, 6800, "0.0.0.0", *guest)
    assert reaches(lab, SERVER, other, 22, "0.0.0.0", *guest)


def test_rules_that_keep_the_controller_out_go_away_by_themselves(lab: Lab) -> None:
    before = lab.on(SERVER, "cat", "/etc/virtfleet/firewall.nft")
    only_hosts = [f"{address}/32" for address in addresses(lab).values()]
    variables = {"firewall_management_network": only_hosts, "firewall_admin_networks": [f"{OUTSIDE}/32"]}
    tried = firewall(lab, "--limit", SERVER, firewall_rollback_seconds=8, **variables)
    assert not tried.ok and ("old rules came back" in tried.output or "old ones come back" in tried.output), (
        tried.output
    )
    assert lab.on(SERVER, "cat", "/etc/virtfleet/firewall.nft") == before
    again = firewall(lab, "--limit", SERVER)
    assert again.ok and again.unchanged, again.output


def test_only_its_own_table_comes_and_goes(lab: Lab) -> None:
    lab.on(OTHER, "nft", "add table inet foreign")
    try:
        gone = firewall(lab, "--limit", OTHER, firewall_enabled=False)
        assert gone.ok and not gone.unchanged, gone.output
        tables = lab.on(OTHER, "nft", "list", "tables")
        assert "foreign" in tables and "inet virtfleet" not in tables
        foreseen = firewall(lab, "--limit", OTHER, "--check")
        assert foreseen.ok and not foreseen.unchanged, foreseen.output
        assert "inet virtfleet" not in lab.on(OTHER, "nft", "list", "tables")
        back = firewall(lab, "--limit", OTHER)
        assert back.ok, back.output
        tables = lab.on(OTHER, "nft", "list", "tables")
        assert "foreign" in tables and "inet virtfleet" in tables
        # As at the next boot, and when Debian's service has removed everything.
        lab.on(OTHER, "nft", "delete table inet virtfleet")
        lab.on(OTHER, "systemctl", "restart", "virtfleet-firewall.service")
        assert firewall(lab, "--limit", OTHER, "--check").unchanged
    finally:
        lab.on(OTHER, "nft", "delete table inet foreign")


def test_a_rule_with_a_mistake_changes_nothing(lab: Lab) -> None:
    before = lab.on(OTHER, "nft", "-s", "list", "table", "inet", "virtfleet")
    wrong = firewall(lab, "--limit", OTHER, firewall_rules=["tcp dport htpps accept"])
    assert not wrong.ok and "nothing was changed" in " ".join(wrong.output.split()), wrong.output
    assert lab.on(OTHER, "nft", "-s", "list", "table", "inet", "virtfleet") == before


def test_another_host_changes_nothing_on_those_that_are_there(lab: Lab, tmp_path: Path) -> None:
    prefix = lab.address(SERVER).rsplit(".", 1)[0]
    more = tmp_path / "more.yml"
    new = {"node-9": {"ansible_host": f"{prefix}.99"}}
    more.write_text(json.dumps({"virtualization": {"hosts": new}, "ceph_osd": {"hosts": new}}))
    limits = ["-i", str(more), "--limit", SERVER, "--check", "--skip-tags", "preflight"]
    network = [f"{prefix}.0/24"]
    assert firewall(lab, "--limit", SERVER, firewall_management_network=network).ok
    assert firewall(lab, *limits, firewall_management_network=network).unchanged
    # By lists of addresses the rules follow.
    assert not firewall(lab, *limits, firewall_management_network=[]).unchanged


def test_ssh_settings_that_keep_the_controller_out_go_away_by_themselves(lab: Lab) -> None:
    """As with --ask-pass, which no key stands behind."""
    nobody = "/etc/ssh/sshd_config.d/05-nobody.conf"
    lab.on(OTHER, "sh", "-c", f"echo 'AuthorizedKeysFile none' > {nobody}")
    try:
        tried = firewall(lab, "--limit", OTHER, firewall_ssh_hardening=True, firewall_rollback_seconds=8)
        assert not tried.ok and "ping module test" in " ".join(tried.output.split()), tried.output
        assert "10-virtfleet.conf" not in lab.on(OTHER, "ls", "/etc/ssh/sshd_config.d")
    finally:
        lab.on(OTHER, "rm", nobody)
        lab.on(OTHER, "systemctl", "reload", "ssh")
    again = firewall(lab, "--limit", OTHER)
    assert again.ok and again.unchanged, again.output


def test_ssh_takes_keys_only_when_that_is_wanted(lab: Lab) -> None:
    try:
        hardened = firewall(lab, "--limit", OTHER, firewall_ssh_hardening=True)
        assert hardened.ok, hardened.output
        settings = lab.on(OTHER, "sshd", "-T").splitlines()
        assert {"passwordauthentication no", "kbdinteractiveauthentication no", "maxauthtries 4"} <= set(settings)
        refused = firewall(lab, "--limit", OTHER, firewall_ssh_hardening=True, ansible_ssh_pass="secret")
        assert not refused.ok and "let a key in" in " ".join(refused.output.split()), refused.output
    finally:
        assert firewall(lab, "--limit", OTHER).ok
    assert "maxauthtries 4" not in lab.on(OTHER, "sshd", "-T")
