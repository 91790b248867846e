# SPDX-License-Identifier: GPL-3.0-or-later
"""Two outer proxies share an address: it is where HAProxy answers, and stays there when the other one is back."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Lab, Result, until

pytestmark = pytest.mark.slow

# Serves nothing on ports 80 and 443 otherwise.
SECOND = "node-3"
SITE = ["playbooks/site.yml", "--tags", "pki,proxies,firewall"]
MOVE_SECONDS = 10
# It takes keepalived 2 to see that HAProxy is back, and 4 to take an address that somebody of less priority has.
STAY_SECONDS = 12
REMOVE = "apt-get -qq purge keepalived && rm -rf /etc/keepalived"


@dataclass(frozen=True)
class Pair:
    """Two proxies, and the address that they share."""

    lab: Lab
    hosts: tuple[str, str]
    address: str
    extra: Path
    context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        authority = self.lab.inventory.parent / "pki" / "ca.crt"
        object.__setattr__(self, "context", ssl.create_default_context(cafile=authority))

    def play(self) -> Result:
        return self.lab.play(*SITE, "-i", str(self.extra))

    def holders(self) -> list[str]:
        """The hosts that have the address."""
        ask = ("ip", "-oneline", "address", "show", "to", f"{self.address}/32")
        return [host for host in self.hosts if self.lab.on(host, *ask)]

    def answering(self) -> str:
        """The host that answers at the address, by its certificate, which has to be good for the address."""
        connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=5)
        with closing(connection):
            # A redirect of the proxy's own, as this is not about what is behind it.
            connection.request("GET", "/prometheus")
            certificate: Any = connection.sock.getpeercert()
            assert connection.getresponse().status == 302
        return str(dict(part[0] for part in certificate["subject"])["commonName"])

    def is_at(self, host: str) -> bool:
        with suppress(OSError):
            return self.holders() == [host] and self.answering() == host
        return False

    def move(self) -> None:
        """Stop HAProxy where the address is, and start it again."""
        (lost,) = self.holders()
        (other,) = {*self.hosts} - {lost}
        self.lab.on(lost, "systemctl", "stop", "haproxy.service")
        try:
            seconds = until(lambda: self.is_at(other), f"the address is at {other}", MOVE_SECONDS, pause=0.1)
            print(f"from {lost} to {other}: {seconds:.1f} s")
        finally:
            self.lab.on(lost, "systemctl", "start", "haproxy.service")
        for _second in range(STAY_SECONDS):
            assert self.is_at(other), self.holders()
            time.sleep(1)


@pytest.fixture(scope="module")
def pair(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    first = lab.hosts("external_haproxy")[0]
    address = lab.address(first).rpartition(".")[0] + ".200"
    extra = tmp_path_factory.mktemp("pair") / "pair.yml"
    # As docs/proxies.md has it.
    shared = {"haproxy_shared_address": address, "pki_names": [address]}
    # One has all addresses, as by default, and one its own only.
    named = {"haproxy_external_addresses": [lab.address(SECOND)]}
    extra.write_text(yaml.safe_dump({"external_haproxy": {"hosts": {SECOND: named}, "vars": shared}}))
    made = Pair(lab, (first, SECOND), address, extra)
    try:
        played = made.play()
        assert played.ok, played.output
        yield made
    finally:
        for host in made.hosts:
            lab.on(host, "sh", "-c", REMOVE, minutes=3)
        restored = lab.play(*SITE)
        lab.on(SECOND, "systemctl", "disable", "--now", "haproxy.service")
    assert restored.ok, restored.output
    assert made.holders() == []
    state = ("systemctl", "show", "--property", "ActiveState", "--value", "keepalived.service")
    assert {lab.on(host, *state).strip() for host in made.hosts} == {"inactive"}


def test_one_of_them_has_the_address(pair: Pair) -> None:
    until(lambda: len(pair.holders()) == 1, "one of them has the address", 30)
    # Two that do not hear each other would both take it in the end.
    time.sleep(STAY_SECONDS)
    (holder,) = pair.holders()
    assert pair.answering() == holder


def test_a_second_run_changes_nothing(pair: Pair) -> None:
    again = pair.play()
    assert again.ok and again.unchanged, again.output


def test_it_moves_to_where_haproxy_answers_and_stays_there(pair: Pair) -> None:
    pair.move()
    # And back: of the two, one would take it again if their priorities counted.
    pair.move()
