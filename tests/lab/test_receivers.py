# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom Alertmanager tells of alerts, by a webhook and by mail; both come to a listener on the monitoring host."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any

import pytest

from .conftest import Lab, Result, until
from .test_monitoring import ask

pytestmark = pytest.mark.slow

UNIT = "receivers-test"
GOT = f"/run/{UNIT}/got"
WEBHOOK_PORT, MAIL_PORT = 8025, 2525
RECEIVERS = {
    "prometheus_webhook_urls": [f"http://127.0.0.1:{WEBHOOK_PORT}/hook"],
    "prometheus_mail_to": ["operators@example.org"],
    "prometheus_mail_from": "cloud@example.org",
    "prometheus_mail_smarthost": f"127.0.0.1:{MAIL_PORT}",
    "prometheus_mail_require_tls": False,
}
CONFIGURATION = "/etc/prometheus/alertmanager.yml"
ALERT, RUNBOOK = "LibvirtDown", "/docs/runbooks/libvirt-down.md"
# Critical ones wait ten seconds for others to come along.
SECONDS = 60
# Writes each message as a line of JSON: how it came, and its text.
SINK = """
import http.server, json, socketserver, sys, threading

def keep(kind, text):
    with lock, open(sys.argv[1], "a") as file:
        print(json.dumps([kind, text]), file=file)

class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        keep("webhook", self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()

class Mail(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\\r\\n")

    def handle(self):
        self.say("220 sink")
        while (command := self.rfile.readline()[:4].upper()) not in (b"", b"QUIT"):
            if command == b"DATA":
                self.say("354 go on")
                lines = []
                while (line := self.rfile.readline()) not in (b"", b".\\r\\n"):
                    lines.append(line)
                keep("mail", b"".join(lines).decode())
            self.say("250 sink")
        self.say("221 sink")

lock = threading.Lock()
webhook = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Webhook)
threading.Thread(target=webhook.serve_forever).start()
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[3])), Mail).serve_forever()
"""
POST = """
import sys, urllib.request

request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), {"Content-Type": "application/json"})
urllib.request.urlopen(request, timeout=20)
"""


def monitoring(lab: Lab) -> str:
    return lab.hosts("monitoring")[0]


def play(lab: Lab, **variables: Any) -> Result:
    """The monitoring host only, and of it neither Grafana nor what was looked at before."""
    limits = ("--tags", "monitoring", "--skip-tags", "grafana,preflight", "--limit", monitoring(lab))
    return lab.play("playbooks/site.yml", *limits, **variables)


def post(lab: Lab, alert: dict[str, Any]) -> None:
    host = monitoring(lab)
    lab.python(host, POST, f"https://{lab.address(host)}:9093/alertmanager/api/v2/alerts", stdin=json.dumps([alert]))


@pytest.fixture
def alert(lab: Lab) -> Iterator[dict[str, Any]]:
    """One with the name, severity and runbook of a real one, of a host that nobody has; it goes to the receivers."""
    host = monitoring(lab)
    groups = ask(lab, "prometheus/api/v1/rules?type=alert")["data"]["groups"]
    (rule,) = (rule for group in groups for rule in group["rules"] if rule["name"] == ALERT)
    # Another one each time, as Alertmanager tells the same again after hours.
    labels = rule["labels"] | {"alertname": ALERT, "instance": f"nobody-{time.time():.0f}"}
    made = {"labels": labels, "annotations": {"runbook_url": rule["annotations"]["runbook_url"]}}
    before = lab.on(host, "cat", CONFIGURATION)
    sink = ("--property", f"RuntimeDirectory={UNIT}", "python3", "-c", SINK, GOT, str(WEBHOOK_PORT), str(MAIL_PORT))
    lab.on(host, "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", *sink)
    try:
        played = play(lab, **RECEIVERS)
        assert played.ok, played.output
        yield made
    finally:
        restored = play(lab)
        post(lab, made | {"endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        lab.on(host, "systemctl", "stop", UNIT)
    assert restored.ok, restored.output
    assert lab.on(host, "cat", CONFIGURATION) == before


def received(lab: Lab, kind: str) -> list[str]:
    messages = [json.loads(line) for line in lab.on(monitoring(lab), "cat", GOT).splitlines()]
    return [text for how, text in messages if how == kind]


def told(lab: Lab, host: str) -> list[dict[str, Any]]:
    """What the webhook got about a host."""
    alerts = [alert for text in received(lab, "webhook") for alert in json.loads(text)["alerts"]]
    return [alert for alert in alerts if alert["labels"].get("instance") == host]


def mails(lab: Lab, host: str) -> list[tuple[EmailMessage, str]]:
    """The mails about a host, and what they say."""
    found = [message_from_string(text, EmailMessage, policy=policy.default) for text in received(lab, "mail")]
    said = [(mail, body.get_content()) for mail in found if (body := mail.get_body(("html",)))]
    return [(mail, text) for mail, text in said if host in text]


def test_an_alert_goes_to_a_webhook_and_by_mail(lab: Lab, alert: dict[str, Any]) -> None:
    host, runbook = alert["labels"]["instance"], alert["annotations"]["runbook_url"]
    assert runbook.startswith("https://") and runbook.endswith(RUNBOOK)
    post(lab, alert)
    until(lambda: bool(told(lab, host)), "the webhook is told", SECONDS)
    until(lambda: bool(mails(lab, host)), "a mail is sent", SECONDS)

    (one,) = told(lab, host)
    assert (one["status"], one["labels"], one["annotations"]) == ("firing", alert["labels"], alert["annotations"])
    ((mail, text),) = mails(lab, host)
    assert (mail["From"], mail["To"]) == ("cloud@example.org", "operators@example.org")
    assert ALERT in mail["Subject"] and ALERT in text and runbook in text
