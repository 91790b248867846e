# SPDX-License-Identifier: GPL-3.0-or-later
"""What users meet first: the proxy outside, before AWX's hosts (here two that answer like them) and the monitoring."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Lab, Result, until

pytestmark = pytest.mark.slow

PROXY = "manager-1"
BACKENDS = ["node-1", "node-2"]
# Runs neither a database nor a manager of Ceph, whose ports the inner proxy takes.
INNER = "node-3"
# Another source of requests than the tests: what is refused to it is refused to nobody else.
STRANGER = "node-2"
PROTECTED = "/prometheus/-/healthy"
SITE = ["playbooks/site.yml", "--tags", "proxies,firewall"]
# What a preflight wants of an inventory with AWX, which is not installed here.
AWX: dict[str, Any] = dict.fromkeys(
    ("awx_kubeconfig", "awx_operator_manifest", "awx_operator_checksum"), "nobody reads it"
)

# While this is there, the stand-in of a host says that AWX is not well, and does all else as before.
ILL = "/run/awx-stand-in-ill"
STAND_IN = """
import http.server, json, os, socket, sys

class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        status = 200 if path in sys.argv[3:] else 404
        if path == "/api/v2/ping/" and os.path.exists(sys.argv[1]):
            status = 503
        told = {"host": socket.gethostname(), "path": path, "headers": self.headers.items()}
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", int(sys.argv[2])), Api).serve_forever()
"""
API = ("8052", "/api/", "/api/v2/me/", "/api/v2/ping/")
GRAFANA = ("3000", "/grafana/", "/grafana/api/health")


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Proxy:
    """The proxy as its users see it, and what it stands before."""

    lab: Lab
    address: str
    ca_file: Path
    extra: Path
    context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "context", ssl.create_default_context(cafile=self.ca_file))

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.address, context=self.context, timeout=20)

    def get(self, path: str, connection: http.client.HTTPConnection | None = None, **headers: str) -> Answer:
        connection = connection or self.connect()
        connection.request("GET", path, headers=headers)
        return received(connection)

    def post(self, path: str, body: dict[str, str], **headers: str) -> Answer:
        connection = self.connect()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"} | headers)
        return received(connection)

    def secret(self, name: str) -> str:
        return str(self.lab.settings()[name])

    def hosts(self, requests: int = 20) -> set[str]:
        """Which hosts answer."""
        answers = [self.get("/api/v2/me/") for _request in range(requests)]
        assert {answer.status for answer in answers} == {200}
        return {json.loads(answer.body)["host"] for answer in answers}

    def play(self, *arguments: str) -> Result:
        return self.lab.play(*SITE, "-i", str(self.extra), *arguments, **AWX)

    def strange(self, requests: int, path: str, **headers: str) -> list[int]:
        """What a stranger's requests are answered."""
        arguments = [self.address, str(requests), path, json.dumps(headers)]
        states: list[int] = json.loads(self.lab.on(STRANGER, "python3", "-", *arguments, stdin=CLIENT))
        return states


READ = """
import ssl, sys, urllib.request

context = ssl.create_default_context(cafile="/etc/ssl/certs/virtfleet-ca.crt")
print(urllib.request.urlopen(sys.argv[1], context=context, timeout=20).read().decode())
"""

CLIENT = """
import http.client, json, ssl, sys

address, requests, path, headers = sys.argv[1:]
connection = http.client.HTTPSConnection(address, context=ssl._create_unverified_context(), timeout=20)
states = []
for request in range(int(requests)):
    connection.request("GET", path, headers=json.loads(headers))
    answer = connection.getresponse()
    answer.read()
    states.append(answer.status)
print(json.dumps(states))
"""


def received(connection: http.client.HTTPConnection) -> Answer:
    answer = connection.getresponse()
    told = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, answer.read().decode(), told)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"virtfleet:{password}".encode()).decode()


def start(lab: Lab, host: str, served: tuple[str, ...] = API) -> None:
    unit = f"stand-in-{served[0]}"
    lab.on(host, "systemd-run", "--collect", "--unit", unit, "python3", "-c", STAND_IN, ILL, *served)


def stop(lab: Lab, host: str, served: tuple[str, ...] = API) -> None:
    lab.on(host, "systemctl", "stop", f"stand-in-{served[0]}")


@pytest.fixture(scope="module")
def proxy(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    extra = tmp_path_factory.mktemp("proxies") / "awx.yml"
    groups = {"awx": BACKENDS, "internal_haproxy": [INNER]}
    extra.write_text(yaml.safe_dump({group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()}))
    made = Proxy(lab, lab.address(PROXY), lab.inventory.parent / "pki" / "ca.crt", extra)
    try:
        for host in BACKENDS:
            start(lab, host)
        played = made.play()
        assert played.ok, played.output
        until(lambda: made.hosts() == set(BACKENDS), "both backends", 20)
        yield made
    finally:
        for host in BACKENDS:
            stop(lab, host)
        lab.on(INNER, "systemctl", "disable", "--now", "haproxy")
        restored = lab.play(*SITE)
    assert restored.ok, restored.output


def test_a_second_run_changes_nothing(proxy: Proxy) -> None:
    again = proxy.play()
    assert again.ok and again.unchanged, again.output


def test_plain_http_is_redirected(proxy: Proxy) -> None:
    answer = proxy.get("/api/?a=b", http.client.HTTPConnection(proxy.address, timeout=20))
    assert (answer.status, answer.headers["location"]) == (301, f"https://{proxy.address}/api/?a=b")


def test_browsers_are_told_to_stay_with_https(proxy: Proxy) -> None:
    for path in ("/api/", PROTECTED):
        assert proxy.get(path).headers["strict-transport-security"] == "max-age=31536000"


def test_old_tls_is_refused(proxy: Proxy) -> None:
    def handshake(version: str) -> str:
        # At its usual level the client would not even try the old one.
        client = f"openssl s_client -connect localhost:443 {version} -cipher DEFAULT@SECLEVEL=0 </dev/null 2>&1 || true"
        return proxy.lab.on(PROXY, "sh", "-c", client)

    assert "New, TLSv1.2" in handshake("-tls1_2")
    assert "alert protocol version" in handshake("-tls1_1")


def test_nobody_says_where_he_comes_from(proxy: Proxy) -> None:
    forged = ["X-Forwarded-For", "x-FORWARDED-for", "X_Forwarded_For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded"]
    connection = proxy.connect()
    connection.connect()
    own = connection.sock.getsockname()[0]
    answer = proxy.get("/api/", connection, **dict.fromkeys(forged, "for=192.0.2.1"))
    told = {name.lower(): value for name, value in json.loads(answer.body)["headers"]}
    assert "192.0.2.1" not in answer.body
    assert (told["x-forwarded-for"], told["x-forwarded-proto"]) == (own, "https")


@pytest.mark.parametrize(
    ("path", "said"), [(PROTECTED, "Prometheus Server is Healthy"), ("/alertmanager/api/v2/status", "versionInfo")]
)
def test_monitoring_needs_the_login(proxy: Proxy, path: str, said: str) -> None:
    password = proxy.secret("haproxy_password")
    for refused in (proxy.get(path), proxy.get(path, Authorization=basic(password + "x"))):
        assert refused.status == 401 and said not in refused.body
    inside = proxy.get(path, Authorization=basic(password))
    assert inside.status == 200 and said in inside.body


def test_grafana_has_its_path_without_the_login_of_the_others(proxy: Proxy) -> None:
    monitoring = proxy.lab.hosts("monitoring")[0]
    if proxy.lab.has_grafana():
        pytest.skip("Grafana is installed in this lab, and nothing can stand in for it")
    assert proxy.get("/grafana/").status == 503
    start(proxy.lab, monitoring, GRAFANA)
    try:
        until(lambda: proxy.get("/grafana/").status == 200, "the stand-in for Grafana", 20)
        told = json.loads(proxy.get("/grafana/").body)
        assert (told["host"], told["path"]) == (monitoring, "/grafana/")
        assert "x-forwarded-for" in {name.lower() for name, _value in told["headers"]}
        assert proxy.get("/grafana").headers["location"] == "/grafana/"
    finally:
        stop(proxy.lab, monitoring, GRAFANA)
    until(lambda: proxy.get("/grafana/").status == 503, "the page that says so", 20)


def test_cephs_dashboard_is_behind_the_login_and_its_own(proxy: Proxy) -> None:
    login = basic(proxy.secret("haproxy_password"))
    accept = "application/vnd.ceph.api.v1.0+json"
    user = {"username": "virtfleet", "password": proxy.secret("ceph_dashboard_password")}

    def is_there() -> bool:
        return "<title>Ceph</title>" in proxy.get("/ceph/", Authorization=login).body

    def health(cookie: str) -> Answer:
        return proxy.get("/ceph/api/health/minimal", Authorization=login, Accept=accept, Cookie=cookie)

    def enter(password: str) -> Answer:
        return proxy.post("/ceph/api/auth", user | {"password": password}, Authorization=login, Accept=accept)

    assert proxy.get("/ceph/").status == 401
    assert is_there()
    assert health("").status == 401
    assert enter("wrong").status in (400, 401)
    inside = enter(user["password"])
    assert inside.status == 201
    told = health(inside.headers["set-cookie"].partition(";")[0])
    assert json.loads(told.body)["health"]["status"].startswith("HEALTH_")

    # Another manager takes over, and its dashboard.
    active = json.loads(proxy.lab.on("node-1", "ceph", "mgr", "stat", "--format", "json"))["active_name"]
    proxy.lab.on("node-1", "ceph", "mgr", "fail", active)
    until(lambda: not is_there(), "the dashboard of the failed manager away", 20)
    until(is_there, "the dashboard of the next manager", 60)


@pytest.mark.parametrize(
    ("url", "said"),
    [("https://{}:8443/", "<title>Ceph</title>"), ("http://{}:9283/metrics", "\nceph_health_status ")],
    ids=["dashboard by TLS", "metrics"],
)
def test_ceph_is_at_the_inner_proxy(proxy: Proxy, url: str, said: str) -> None:
    read = ("python3", "-c", READ, url.format(proxy.lab.address(INNER)))
    # The manager changed just now, which the inner proxy finds out by itself.
    until(lambda: said in proxy.lab.on(PROXY, *read), said, 60)


def test_who_guesses_passwords_is_stopped(proxy: Proxy) -> None:
    states = proxy.strange(30, PROTECTED, Authorization="Basic dmlydGZsZWV0OmE=")
    assert states[:20] == [401] * 20 and states[-1] == 429
    assert proxy.get(PROTECTED).status == 401


def test_too_many_requests_are_refused_to_who_sends_them(proxy: Proxy) -> None:
    # A redirect, as that asks no backend.
    states = proxy.strange(700, "/prometheus")
    assert states[:500] == [302] * 500 and states[-1] == 429
    assert proxy.get("/api/").status == 200


def test_a_killed_backend_is_not_noticed(proxy: Proxy) -> None:
    first, second = BACKENDS
    stop(proxy.lab, first)
    try:
        assert proxy.hosts() == {second}
    finally:
        start(proxy.lab, first)
    until(lambda: proxy.hosts() == set(BACKENDS), "both backends", 20)


def test_a_backend_that_says_it_is_not_well_gets_no_requests(proxy: Proxy) -> None:
    ill, well = BACKENDS
    proxy.lab.on(ill, "touch", ILL)
    try:
        until(lambda: proxy.hosts() == {well}, "requests go to the other backend", 20)
        answer = proxy.lab.on(ill, "python3", "-c", READ, "http://127.0.0.1:8052/api/v2/me/")
        assert json.loads(answer)["host"] == ill
        assert proxy.hosts(100) == {well}
    finally:
        proxy.lab.on(ill, "rm", "-f", ILL)
    until(lambda: proxy.hosts() == set(BACKENDS), "both backends", 20)


def test_without_a_backend_there_is_a_page(proxy: Proxy) -> None:
    for host in BACKENDS:
        stop(proxy.lab, host)
    try:
        until(lambda: proxy.get("/api/").status == 503, "no backend", 20)
        page = proxy.get("/api/").body
    finally:
        for host in BACKENDS:
            start(proxy.lab, host)
    assert "does not answer now" in page and "://" not in page
    until(lambda: proxy.get("/api/").status == 200, "a backend", 20)
    until(lambda: proxy.hosts() == set(BACKENDS), "both backends", 20)


def test_a_reload_drops_no_request(proxy: Proxy) -> None:
    reloaded = threading.Event()

    def load(kept: bool) -> int:
        """Requests over one connection, or each over its own."""
        connection = proxy.connect()
        done = 0
        while not reloaded.is_set():
            assert proxy.get("/api/", connection if kept else None).status == 200
            done += 1
            time.sleep(0.03)
        return done

    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(load, kept) for kept in (True, True, False, False)]
        try:
            before = proxy.lab.on(PROXY, "pgrep", "-u", "haproxy", "-n")
            proxy.lab.on(PROXY, "sh", "-ec", "for n in $(seq 10); do systemctl reload haproxy; sleep 0.5; done")
            assert proxy.lab.on(PROXY, "pgrep", "-u", "haproxy", "-n") != before
        finally:
            reloaded.set()
        counts = [requests.result() for requests in loads]
    print(f"{sum(counts)} requests during 10 reloads")
    assert sum(counts) >= 200


def test_a_reload_takes_up_another_port(proxy: Proxy) -> None:
    def ports() -> set[str]:
        ask = "echo 'show servers state awx' | socat - /run/haproxy/admin.sock"
        return {line.split()[18] for line in proxy.lab.on(PROXY, "sh", "-c", ask).splitlines() if " awx " in line}

    before = ports()
    try:
        changed = proxy.play("-e", '{"haproxy_awx_port": 8053}')
        assert changed.ok and before != {"8053"}, changed.output
        until(lambda: ports() == {"8053"}, "the new port", 20)
    finally:
        restored = proxy.play()
    assert restored.ok, restored.output
    until(lambda: ports() == before, "the former port", 20)
    until(lambda: proxy.hosts() == set(BACKENDS), "both backends", 20)


def test_a_broken_configuration_is_refused_and_the_running_one_stays(proxy: Proxy) -> None:
    before = proxy.lab.on(PROXY, "cat", "/etc/haproxy/haproxy.cfg")
    broken = proxy.play("-e", '{"haproxy_external_addresses": ["*:443 nonsense"]}')
    assert not broken.ok and "failed to validate" in broken.output and "nonsense" in broken.output
    assert proxy.lab.on(PROXY, "cat", "/etc/haproxy/haproxy.cfg") == before
    assert proxy.get("/api/").status == 200


def test_a_proxy_in_front_of_its_own_databases_is_refused(proxy: Proxy, tmp_path: Path) -> None:
    database = proxy.lab.hosts("database")[0]
    clash = tmp_path / "clash.yml"
    clash.write_text(yaml.safe_dump({"internal_haproxy": {"hosts": {database: None}}}))
    sayings = {"none": "which want the same ports", "preflight": "give haproxy_internal_addresses another"}
    for skipped, said in sayings.items():
        arguments = ["--tags", "proxies", "--skip-tags", skipped, "-i", str(clash)]
        refused = proxy.lab.play("playbooks/site.yml", *arguments)
        assert not refused.ok and said in " ".join(refused.output.split()), refused.output


def test_its_metrics_are_inside(proxy: Proxy) -> None:
    metrics = proxy.lab.on(PROXY, "python3", "-c", READ, f"http://{proxy.address}:8404/metrics")
    for host in BACKENDS:
        assert f'haproxy_server_status{{proxy="awx",server="{host}",state="UP"}} 1' in metrics
    assert "awx" in proxy.lab.on(PROXY, "python3", "-c", READ, f"http://{proxy.address}:8404/")
