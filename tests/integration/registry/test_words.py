# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Words with quotes, braces, SQL and worse: refused with what is wrong, or kept and given back as they are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.virtfleet.cloud.plugins.filter.findings import findings_table
from ansible_collections.virtfleet.cloud.plugins.filter.vm_history import history_table
from ansible_collections.virtfleet.cloud.plugins.module_utils.errors import Invalid, NotFound, VirtfleetError
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry import Registry
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_connection import Settings
from ansible_collections.virtfleet.cloud.plugins.module_utils.registry_rows import Record
from ansible_collections.virtfleet.cloud.plugins.module_utils.seen import Domain, Seen
from ansible_collections.virtfleet.cloud.plugins.module_utils.spec import parse_request, read_request

ROOT = Path(__file__).resolve().parents[3]

Sql = Callable[..., list[tuple[Any, ...]]]

WORDS = {
    "quotes": 'it\'s "quoted" `x` $HOME \\',
    "sql": "'); DROP TABLE virtfleet.vm; --",
    "format": "%s %(name)s %% {0} {name}",
    "expression": "{{ lookup('pipe', 'echo pwn' ~ 'ed') }}",
    "statement": "{% for x in range(9) %}x{% endfor %}{# #}",
    "lines": "one\ntwo\r\nthree\ttab",
    "unicode": "größe 名前 \U0001f600 e\u0301 \u202eright-to-left\u2028",
    "terminal": "\x1b[2J\x1b]0;title\x07",
    "long": "x" * 10000,
    "empty": "",
    "path": "../../etc/passwd",
}
# No text in PostgreSQL can have these.
IMPOSSIBLE = {"nul": "a\0b", "half a pair": "a\ud800b"}

ALL = (*WORDS.values(), *IMPOSSIBLE.values())

possible = pytest.mark.parametrize("word", WORDS.values(), ids=list(WORDS))
impossible = pytest.mark.parametrize("word", IMPOSSIBLE.values(), ids=list(IMPOSSIBLE))

FIELDS: dict[str, Callable[[str], Any]] = {
    "name": lambda word: word,
    "project": lambda word: word,
    "tags": lambda word: [word],
    "image": lambda word: word,
    "node": lambda word: word,
    "guest_user": lambda word: word,
    "anti_affinity": lambda word: word,
    "node_labels": lambda word: {"rack": word},
    "disks": lambda word: [{"name": word, "size": 1}],
    "networks": lambda word: [{"subnet": word}],
    "ram": lambda word: word,
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_request_is_refused_with_what_is_wrong(registry: Registry, sql: Sql, field: str) -> None:
    for word in ALL:
        spec, problems = read_request({"name": "test-1"} | {field: FIELDS[field](word)})
        with pytest.raises(Invalid) as refused:
            registry.claim_new(spec, "ann@desk", 60, problems)
        assert any(field in problem for problem in refused.value.problems), refused.value
    assert sql("SELECT count(*) FROM vm") == [(0,)]


@possible
def test_who_what_and_why_are_kept_as_they_are(registry: Registry, word: str) -> None:
    key = f"ssh-ed25519 AAAA {word}"
    fits = "\n" not in word
    spec, problems = read_request({"name": "test-1", "ssh_authorized_keys": [key if fits else "ssh-ed25519 AAAA"]})
    assert problems == []
    claim = registry.claim_new(spec, word, 60)
    if fits:
        assert claim.vm["ssh_authorized_keys"] == [key.strip()]
    with pytest.raises(VirtfleetError) as busy:
        registry.claim_existing("test-1", "stop", "bob@desk", 60)
    assert f"being changed by {word} since" in str(busy.value)
    error = {"code": "backend", "message": word, "hint": word, "problems": [word]}
    kept, _change = registry.record(Record("test-1", claim.lease or "", step=word, error=error), word)
    assert (kept["step"], kept["error"]) == (word, error)
    assert registry.vms({"name": "test-1"}) == [kept]
    failed, created = registry.history("test-1", 9)
    assert (failed["actor"], failed["detail"], created["actor"]) == (word, error, word)


@impossible
def test_a_failure_is_kept_whatever_it_says(registry: Registry, word: str) -> None:
    claim = registry.claim_new(parse_request({"name": "test-1"}), "ann@desk", 60)
    error = {"code": "backend", "message": word, "hint": "", "problems": [word]}
    vm, _change = registry.record(Record("test-1", claim.lease or "", step="Act", error=error), "ann@desk")
    (kept,) = vm["error"]["problems"]
    assert (kept[0], len(kept), kept[2]) == ("a", 3, "b")


def test_a_filter_finds_what_is_meant_literally(registry: Registry, sql: Sql) -> None:
    registry.claim_new(parse_request({"name": "test-1", "tags": ["web"]}), "ann@desk", 60)
    for name in ("name", "project", "node", "state", "image", "tag", "search", "after"):
        for word in WORDS.values():
            hit = (name == "after" and word < "test-1") or (name, word) == ("search", "")
            assert [vm["name"] for vm in registry.vms({name: word})] == (["test-1"] if hit else [])
        for word in IMPOSSIBLE.values():
            with pytest.raises(Invalid, match="cannot hold"):
                registry.vms({name: word})
    assert sql("SELECT count(*) FROM vm") == [(1,)]


@possible
def test_names_of_nodes_and_images_are_kept_as_they_are(registry: Registry, settings: Settings, word: str) -> None:
    registry.put_node(word, {"address": word, "vcpus": 8, "memory_mib": 99999, "labels": {word: word}})
    node = next(node for node in registry.nodes() if node["name"] == word)
    assert (node["address"], node["labels"]) == (word, {word: word})
    assert not registry.put_node(word, {"address": word, "labels": {word: word}}).changed
    registry.put_image(word, 1)
    assert word in registry.images()
    claim = registry.claim_new(parse_request({"name": "test-1"}), "ann@desk", 60)
    assert claim.node == {"name": word, "address": word}
    registry.record(Record("test-1", claim.lease or "", "running"), "ann@desk")
    # Redis is asked, and says the same.
    source = "postgresql" if len(word) > 1000 else "redis"
    with Registry(settings, lambda _text: None) as other:
        assert other.location("test-1") == ({"name": word, "address": word}, source)
    seen = Seen([Domain("n1", "test-1", claim.vm["id"], "running", None)])
    details = [finding.detail for finding in registry.reconcile(seen, True, word)[0]]
    assert f"is on n1, not on {word}" in details
    assert registry.history("test-1", 1)[0]["actor"] == word


def test_names_that_nobody_can_have(registry: Registry) -> None:
    asks: list[Callable[[str], Any]] = [
        registry.location,
        lambda word: registry.history(word, 9),
        lambda word: registry.claim_existing(word, "stop", "ann@desk", 60),
        lambda word: registry.claim_change(word, {"ram": 2048}, "ann@desk", 60),
        lambda word: registry.claim_deleted(word, "ann@desk", 60),
    ]
    for word in ALL:
        for ask in asks:
            with pytest.raises((NotFound, Invalid)):
                ask(word)


@impossible
def test_what_cannot_be_kept_is_refused(registry: Registry, word: str) -> None:
    for write in (
        lambda: registry.put_node(word, {"address": "10.0.0.3", "vcpus": 8, "memory_mib": 64}),
        lambda: registry.put_node("n1", {"labels": {"rack": word}}),
        lambda: registry.put_image(word, 1),
        lambda: registry.claim_new(parse_request({"name": "test-1"}), word, 60),
    ):
        with pytest.raises(Invalid, match="cannot hold"):
            write()
    # The connection goes on.
    assert [node["name"] for node in registry.nodes()] == ["n1", "n2"]


@possible
def test_tables_have_one_line_for_each_and_no_commands_for_terminals(word: str) -> None:
    finding = {"name": word, "kind": "unknown_domain", "detail": word, "action": ""}
    event = {"at": "2026-01-01", "actor": word, "action": word, "detail": {word: [word, word]}}
    for shown in (findings_table([finding]), history_table([event])):
        assert len(shown.splitlines()) == 2
        assert "\x1b" not in shown and "\u2028" not in shown


def test_playbooks_take_no_word_for_a_template(
    registry: Registry, settings: Settings, sql: Sql, tmp_path: Path
) -> None:
    evil, other = WORDS["expression"], WORDS["statement"]
    claim = registry.claim_new(parse_request({"name": "test-1"}), evil, 60)
    registry.record(Record("test-1", claim.lease or "", "running", event=other, detail={evil: other}), other)
    sql("UPDATE vm SET image = %s, ip = NULL", evil)
    hosts = tmp_path / "hosts.yml"
    variables = {
        "registry_host": settings.host, "registry_port": settings.port, "registry_user": settings.user,
        "registry_password": settings.password, "registry_ca_file": settings.ca_file,
    }  # fmt: skip
    hosts.write_text(
        yaml.safe_dump({"all": {"hosts": {"localhost": {"ansible_connection": "local"}}, "vars": variables}})
    )

    def play(playbook: str, **given: str) -> str:
        command = ["ansible-playbook", f"playbooks/{playbook}", "-i", str(hosts), "-e", json.dumps(given)]
        environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert "pwned" not in done.stdout + done.stderr and "xxxxxxxxx" not in done.stdout
        return " ".join((done.stdout + done.stderr).split())

    for output in ("table", "json"):
        listed = play("list_vms.yml", output=output)
        assert "{{ lookup(" in listed, listed
        history = play("vm_history.yml", name="test-1", output=output)
        assert "{{ lookup(" in history and "{% for x" in history
    assert "is not a DNS label" in play("create_vm.yml", name=evil)
    assert "There are more" not in play("list_vms.yml", project=evil, tag=other, search=evil, image=evil)
