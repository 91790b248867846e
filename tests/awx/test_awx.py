# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Against an AWX of yours, with an administrator's token and an inventory that has the variables of role awx.

    VIRTFLEET_AWX_URL=... VIRTFLEET_AWX_TOKEN=... VIRTFLEET_AWX_INVENTORY=inventories/lab/hosts.yml pytest tests/awx

Where the inventory's nodes are up (VIRTFLEET_AWX_NODES=1) virtual machines are made over REST and deleted too.
VIRTFLEET_AWX_VARIABLES names a file with more variables for role awx.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("VIRTFLEET_AWX_URL", "VIRTFLEET_AWX_TOKEN", "VIRTFLEET_AWX_INVENTORY")
missing = [name for name in SETTINGS if not os.environ.get(name)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"no AWX to test against: set {', '.join(missing)}")

needs_nodes = pytest.mark.skipif(
    not os.environ.get("VIRTFLEET_AWX_NODES"), reason="VIRTFLEET_AWX_NODES is not set: no nodes"
)
RUNNING = ("new", "pending", "waiting", "running")


def play(*arguments: str) -> str:
    settings = {"awx_url": os.environ["VIRTFLEET_AWX_URL"], "awx_token": os.environ["VIRTFLEET_AWX_TOKEN"]}
    command = ["ansible-playbook", "-i", os.environ["VIRTFLEET_AWX_INVENTORY"], *arguments, "-e", json.dumps(settings)]
    if more := os.environ.get("VIRTFLEET_AWX_VARIABLES"):
        command += ["-e", f"@{more}"]
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(
    path: str, body: dict[str, Any] | None = None, login: str = "", method: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and answer; path is below /api/v2/, or whole as AWX gives it."""
    path = path if path.startswith("/") else f"/api/v2/{path}"
    request = urllib.request.Request(
        os.environ["VIRTFLEET_AWX_URL"] + quote(path, safe="/?&=+%"),
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": login or f"Bearer {os.environ['VIRTFLEET_AWX_TOKEN']}",
            "Content-Type": "application/json",
        },
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def launch(template: str, login: str = "", job_type: str = "run", **answers: Any) -> tuple[int, dict[str, Any]]:
    return ask(f"job_templates/{template}++Default/launch/", {"extra_vars": answers, "job_type": job_type}, login=login)


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(1)


def wait(launched: tuple[int, dict[str, Any]], seconds: float = 300) -> dict[str, Any]:
    """The job at its end, with its artifacts."""
    assert launched[0] == 201, launched
    path = f"jobs/{launched[1]['job']}/"
    until(lambda: bool(ask(path)[1]["event_processing_finished"]), f"the end of {path}", seconds)
    return ask(path)[1]


def update(source: dict[str, Any]) -> dict[str, Any]:
    """An update of an inventory at its end."""
    path = ask(source["related"]["update"], {})[1]["url"]
    until(lambda: ask(path)[1]["status"] not in RUNNING, f"the end of {path}", 300)
    return ask(path)[1]


Member = Callable[[str], str]


@pytest.fixture
def member() -> Iterator[Member]:
    """Makes a member of a team, and returns what they log in with."""
    users = []

    def make(team: str) -> str:
        password = secrets.token_urlsafe(24)
        name = f"test-{team}-{secrets.token_hex(4)}"
        user = ask("users/", {"username": name, "password": password})[1]
        users.append(user["url"])
        (there,) = ask(f"teams/?name={team}")[1]["results"]
        assert ask(there["related"]["users"], {"id": user["id"]})[0] == 204
        # A token that an administrator makes is the administrator's.
        return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"

    yield make
    for url in users:
        ask(url, method="DELETE")


def configure(**variables: Any) -> int:
    """Makes what is in AWX, and says how many tasks changed something."""
    recap = play("playbooks/configure_awx.yml", "-e", json.dumps(variables)).partition("PLAY RECAP")[2]
    return sum(int(changed) for changed in re.findall(r"changed=(\d+)", recap))


def test_configure_twice_changes_nothing_the_second_time() -> None:
    configure()
    assert configure() == 0


def test_what_was_changed_by_hand_is_made_right() -> None:
    template = ask("job_templates/List VMs++Default/")[1]
    survey = ask(template["related"]["survey_spec"])[1]
    (viewers,) = ask("teams/?name=viewers")[1]["results"]
    (schedule,) = ask("schedules/?name=Purge the trash")[1]["results"]
    (node,) = ask("workflow_job_template_nodes/?identifier=create")[1]["results"]
    right = template["summary_fields"]["object_roles"]["read_role"]["id"]
    ask(template["url"], {"description": "something else", "allow_simultaneous": False}, method="PATCH")
    ask(template["related"]["survey_spec"], survey | {"spec": survey["spec"][:1]})
    ask(f"roles/{right}/teams/", {"id": viewers["id"], "disassociate": True})
    for changed, change in (
        (viewers, {"description": ""}),
        (schedule, {"enabled": False}),
        (node, {"extra_data": {}}),
    ):
        assert ask(changed["url"], change, method="PATCH")[0] == 200
    assert configure() == 5
    for before in (template, viewers, schedule, node):
        again = ask(before["url"])[1]
        for field in ("description", "allow_simultaneous", "enabled", "extra_data"):
            assert again.get(field) == before.get(field), (before["url"], field)
    assert ask(template["related"]["survey_spec"])[1] == survey
    assert viewers["id"] in [team["id"] for team in ask(f"roles/{right}/teams/")[1]["results"]]


@contextmanager
def serving(kind: Callable[..., socketserver.TCPServer], handler: type[Any]) -> Iterator[tuple[str, int]]:
    """Address and port by which AWX reaches a server of ours."""
    awx = urlsplit(os.environ["VIRTFLEET_AWX_URL"])
    with socket.create_connection((awx.hostname, awx.port or {"https": 443}.get(awx.scheme, 80))) as connection:
        address = connection.getsockname()[0]
    with kind((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address, server.server_address[1]
        server.shutdown()


def test_a_failed_job_is_told_by_webhook_and_mail() -> None:
    told: list[dict[str, Any]] = []
    mails: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    class Mailbox(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 mailbox\r\n")
            for line in self.rfile:
                if line.upper().startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                self.wfile.write(b"250 OK\r\n")

    with serving(ThreadingHTTPServer, Webhook) as webhook, serving(socketserver.ThreadingTCPServer, Mailbox) as mailbox:
        to_webhook: dict[str, Any] = {"url": f"http://{webhook[0]}:{webhook[1]}/", "http_method": "POST", "headers": {}}
        to_webhook |= {"username": "", "password": "", "disable_ssl_verification": False}
        to_people: dict[str, Any] = {"host": mailbox[0], "port": mailbox[1], "username": "", "password": ""}
        to_people |= {"use_tls": False, "use_ssl": False, "timeout": 30}
        to_people |= {"sender": "awx@example.org", "recipients": ["admin@example.org"]}
        notifications = [
            {"name": "on call", "notification_type": "webhook", "notification_configuration": to_webhook},
            {"name": "by mail", "notification_type": "email", "notification_configuration": to_people},
        ]
        try:
            configure(awx_notifications=notifications)
            assert configure(awx_notifications=notifications) == 0
            assert wait(launch("Show VM", name="awx-nobody"))["status"] == "failed"
            until(lambda: bool(told and mails), "webhook and mail", 60)
            assert (told[0]["name"], told[0]["status"]) == ("Show VM", "failed")
            assert "To: admin@example.org" in mails[0] and "Show VM" in mails[0]
        finally:
            configure()
            for notification in notifications:
                for made in ask(f"notification_templates/?name={notification['name']}")[1]["results"]:
                    ask(made["url"], method="DELETE")
        assert wait(launch("Show VM", name="awx-nobody"))["status"] == "failed"
        assert (len(told), len(mails)) == (1, 1)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({}, "'name' value missing"),
        ({"name": "a", "cpu": "2"}, "Value 2 for 'cpu' expected to be an integer."),
        ({"name": "a", "ram": 1}, "'ram' value 1 is too small (must be at least 64)."),
        ({"name": "a" * 64}, "too large"),
        ({"name": "a", "placement": "anywhere"}, "expected to be one of"),
    ],
)
def test_wrong_answers_are_refused_before_there_is_a_job(answers: dict[str, Any], problem: str) -> None:
    code, answer = launch("Create VM", **answers)
    assert code == 400 and problem in answer["variables_needed_to_start"][0]


def test_without_a_right_there_is_no_job(member: Member) -> None:
    viewer = member("viewers")
    code, template = ask("job_templates/List VMs++Default/", login=viewer)
    assert code == 200
    # AWX denies a template by its number, and does not find it by its name.
    assert ask(template["related"]["launch"], {}, login=viewer)[0] == 403
    assert launch("List VMs", login=viewer)[0] == 404
    assert launch("Backup registry", login=member("operators"))[0] == 404
    assert launch("List VMs", login="Bearer of-nobody")[0] == 401


def test_an_operator_may_launch(member: Member) -> None:
    assert wait(launch("List VMs", login=member("operators")))["status"] == "successful"


def test_hosts_stay_where_an_update_finds_no_registry() -> None:
    (source,) = ask("inventory_sources/?name=virtfleet VMs from the registry")[1]["results"]
    (credential,) = ask("credentials/?name=virtfleet registry, reading")[1]["results"]
    assert update(source)["status"] == "successful"
    hosts = ask(source["related"]["inventory"] + "hosts/?page_size=1")[1]["count"]
    good = credential["inputs"]
    ask(credential["url"], {"inputs": good | {"port": "1"}}, method="PATCH")
    try:
        assert update(source)["status"] == "failed"
        assert ask(source["related"]["inventory"] + "hosts/?page_size=1")[1]["count"] == hosts
    finally:
        ask(credential["url"], {"inputs": good}, method="PATCH")
    assert update(source)["status"] == "successful"


@needs_nodes
def test_a_virtual_machine_is_made_and_deleted_over_rest() -> None:
    assert "from launch to the end of the create" in play("playbooks/check_api.yml")


@needs_nodes
def test_what_would_be_done_is_said_and_not_done() -> None:
    job = wait(launch("Create VM", job_type="check", name="awx-check", ram=128))
    assert job["status"] == "successful" and job["artifacts"]["changes"], job["artifacts"]
    shown = wait(launch("Show VM", name="awx-check"))
    assert shown["status"] == "failed" and shown["artifacts"]["error"]["code"] == "not_found"


@needs_nodes
def test_many_launches_at_once_end_well() -> None:
    names = [f"awx-many-{number}" for number in range(20)]
    try:
        launched = [launch("Create VM", name=name, ram=64, disk=2, start="false") for name in names]
        jobs = [wait(one, seconds=900) for one in launched]
        assert [job["artifacts"]["vm"]["name"] for job in jobs] == names
        assert {job["status"] for job in jobs} == {"successful"}
    finally:
        for one in [launch("Delete VM", name=name, force="true", purge="true") for name in names]:
            wait(one, seconds=900)


@needs_nodes
def test_a_job_that_was_cancelled_is_finished_by_the_next() -> None:
    answers: dict[str, Any] = {"name": "awx-cancelled", "ram": 64, "disk": 2, "start": "false"}
    launched = launch("Create VM", **answers)
    job = f"jobs/{launched[1]['job']}/"
    until(lambda: "Reserve" in ask(job + "stdout/?format=json")[1].get("content", ""), "the claim", 60)
    ask(job + "cancel/", {})
    assert wait(launched)["status"] == "canceled"
    try:
        # Until the lease of the first has run out it is told to wait.
        until(lambda: wait(launch("Create VM", **answers))["status"] == "successful", "a create that ends well", 900)
        assert not wait(launch("Create VM", **answers))["artifacts"]["changes"]
    finally:
        assert wait(launch("Delete VM", name=answers["name"], force="true", purge="true"))["status"] == "successful"


@needs_nodes
def test_a_workflow_creates_and_lists() -> None:
    launched = ask(f"workflow_job_templates/{quote('Create VM and set it up')}++Default/launch/", {
        "extra_vars": {"name": "awx-workflow", "ram": 512},
    })  # fmt: skip
    assert launched[0] == 201, launched
    workflow = f"workflow_jobs/{launched[1]['id']}/"
    try:
        until(lambda: ask(workflow)[1]["status"] not in RUNNING, "the end of the workflow", 900)
        assert ask(workflow)[1]["status"] == "successful"
        listed = ask(f"inventories/{quote('virtfleet VMs')}++Default/script/?hostvars=1")[1]
        assert listed["_meta"]["hostvars"]["awx-workflow"]["vm_state"] == "running"
    finally:
        assert wait(launch("Delete VM", name="awx-workflow", force="true", purge="true"))["status"] == "successful"


@needs_nodes
def test_a_delete_waits_for_its_approval() -> None:
    assert wait(launch("Create VM", name="awx-approved", ram=64, disk=2, start="false"))["status"] == "successful"
    template = f"workflow_job_templates/{quote('Delete VM after approval')}++Default/launch/"
    launched = ask(template, {"extra_vars": {"name": "awx-approved", "purge": "true"}})
    workflow = f"workflow_jobs/{launched[1]['id']}/"
    pending = f"workflow_approvals/?status=pending&unified_job_node__workflow_job={launched[1]['id']}"
    until(lambda: ask(pending)[1]["count"] == 1, "a question to approve", 60)
    assert wait(launch("Show VM", name="awx-approved"))["status"] == "successful"
    (approval,) = ask(pending)[1]["results"]
    ask(approval["related"]["approve"], {})
    until(lambda: ask(workflow)[1]["status"] not in RUNNING, "the end of the workflow", 300)
    assert ask(workflow)[1]["status"] == "successful"
    assert wait(launch("Show VM", name="awx-approved"))["status"] == "failed"
