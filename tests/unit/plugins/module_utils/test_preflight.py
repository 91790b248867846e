# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight finds wrong."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.virtfleet.cloud.plugins.module_utils.preflight_finding import ERROR, WARNING, Finding
from ansible_collections.virtfleet.cloud.plugins.module_utils.preflight_host import host_findings
from ansible_collections.virtfleet.cloud.plugins.module_utils.preflight_inventory import inventory_findings

HOST: dict[str, Any] = {
    "distribution": "debian", "release": "13", "is_root": True, "hostname": "node-1", "knows_its_name": True,
    "machine_id": "aa", "memory_mib": 65536, "addresses": ["10.0.0.11"],
    "default_address": "10.0.0.11", "free_gib": {"/var": 50.0}, "devices": {},
    "listeners": [], "has_ceph": False, "clock_is_set": True, "time": 0.0,
}  # fmt: skip
VARIABLES: dict[str, Any] = {"ceph_public_network": "10.0.0.0/24"}


def look(groups: list[str], wanted: dict[str, Any] | None = None, apart: float = 0.0, **seen: Any) -> list[Finding]:
    told = {"host": HOST | seen, "seconds_apart": apart, "seconds_unsure": 0.5}
    return host_findings("node-1", groups, told, VARIABLES if wanted is None else wanted)


def device(*signatures: str, is_block: bool = True) -> dict[str, Any]:
    return {"/dev/sdb": {"is_block": is_block, "signatures": list(signatures)}}


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.check) for finding in findings]


def test_a_good_host_has_no_findings() -> None:
    assert look(["ceph_mon", "virtualization", "database"]) == []


@pytest.mark.parametrize(
    ("groups", "seen", "expected"),
    [
        ([], {"distribution": "ubuntu"}, (ERROR, "release")),
        ([], {"release": "11"}, (ERROR, "release")),
        (["manager"], {"release": "12"}, (WARNING, "release")),
        ([], {"is_root": False}, (ERROR, "root")),
        ([], {"knows_its_name": False}, (WARNING, "names")),
        ([], {"apart": -40.0}, (ERROR, "time")),
        ([], {"apart": 5.0}, (WARNING, "time")),
        ([], {"clock_is_set": False}, (WARNING, "time")),
        (["database"], {"memory_mib": 512}, (WARNING, "memory")),
        (["database"], {"free_gib": {"/var": 2.0}}, (WARNING, "room")),
        (["database"], {"free_gib": {"/var": 0.4}}, (ERROR, "room")),
        (["database"], {"listeners": [{"port": 5432, "process": "nginx"}]}, (ERROR, "ports")),
        (["ceph_mon"], {"addresses": ["10.1.0.11"]}, (ERROR, "network")),
        (["ceph_mon"], {"addresses": ["10.0.0.11", "10.1.0.11"], "default_address": "10.1.0.11"}, (ERROR, "network")),
    ],
)
def test_each_fault_is_found(groups: list[str], seen: dict[str, Any], expected: tuple[str, str]) -> None:
    assert kinds(look(groups, **seen)) == [expected]


@pytest.mark.parametrize(
    ("groups", "seen"),
    [
        (["manager"], {"release": "13"}),
        ([], {"apart": 2.0}),
        ([], {"clock_is_set": None}),
        ([], {"memory_mib": 128}),
        (["database"], {"listeners": [{"port": 8008, "process": "nginx"}]}),
        (["ceph_mgr"], {"listeners": [{"port": 8080, "process": "nginx"}]}),
        (["database"], {"listeners": [{"port": 5432, "process": "postgres"}]}),
        (["manager"], {"listeners": [{"port": 5432, "process": "nginx"}]}),
        (["virtualization"], {"addresses": ["10.1.0.11"]}),
    ],
)
def test_what_is_no_fault_is_not(groups: list[str], seen: dict[str, Any]) -> None:
    assert look(groups, **seen) == []


def test_a_monitor_may_have_another_address_than_that_of_the_default_route() -> None:
    seen: dict[str, Any] = {"addresses": ["10.0.0.11", "10.1.0.11"], "default_address": "10.1.0.11"}
    (finding,) = look(["ceph_mon"], **seen)
    assert finding.hint == "Set ceph_mon_address of the host to 10.0.0.11."
    assert look(["ceph_mon"], VARIABLES | {"ceph_mon_address": "10.0.0.11"}, **seen) == []
    assert look(["ceph_mgr"], **seen) == []


def test_some_ports_are_served_with_a_cluster_or_a_dashboard_only() -> None:
    taken = HOST | {"listeners": [{"port": 8008, "process": "nginx"}, {"port": 8080, "process": "nginx"}]}
    told = {"host": taken, "seconds_apart": 0.0, "seconds_unsure": 0.5}
    found = host_findings("node-1", ["database", "ceph_mgr"], told, {"ceph_mgr_modules": ["dashboard"]}, databases=3)
    assert [finding.finding for finding in found] == ["port 8008 is taken by nginx", "port 8080 is taken by nginx"]


def test_a_node_exporter_of_somebody_else_is_in_the_way_on_any_host() -> None:
    (found,) = look(["manager"], listeners=[{"port": 9100, "process": "node_exporter"}])
    assert (found.finding, found.hint) == (
        "port 9100 is taken by node_exporter",
        "Each host has ours there: stop that.",
    )
    assert look(["manager"], listeners=[{"port": 9100, "process": "prometheus-node"}]) == []


def test_memory_counts_guests_and_osds() -> None:
    wanted = VARIABLES | {"libvirt_node_memory_mib": 60000}
    assert look(["virtualization"], wanted) == []
    wanted |= {"ceph_osd_devices": ["/dev/sdb"], "ceph_osd_memory_target": 8 * 1024**3}
    assert kinds(look(["virtualization", "ceph_osd"], wanted, devices=device())) == [(WARNING, "memory")]


@pytest.mark.parametrize(
    ("devices", "more", "expected"),
    [
        (device(), {}, []),
        (device(is_block=False), {}, [(ERROR, "disks")]),
        (device("ext4"), {}, [(ERROR, "disks")]),
        (device("ext4"), {"ceph_osd_wipe_devices": ["/dev/sdb"]}, []),
        (device("ceph_bluestore"), {}, [(WARNING, "disks")]),
        (device("ceph_bluestore"), {"ceph_osd_wipe_devices": ["/dev/sdb"]}, []),
        (device("ceph_bluestore", "ext4"), {}, [(ERROR, "disks")]),
    ],
)
def test_disks_hold_no_data(devices: dict[str, Any], more: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    wanted = VARIABLES | {"ceph_osd_devices": ["/dev/sdb"]} | more
    assert kinds(look(["ceph_osd"], wanted, devices=devices)) == expected


def test_an_osd_of_a_host_with_ceph_is_ours() -> None:
    wanted = VARIABLES | {"ceph_osd_devices": ["/dev/sdb"]}
    assert look(["ceph_osd"], wanted, devices=device("ceph_bluestore"), has_ceph=True) == []


def test_a_host_that_is_away_does_not_stop_the_others() -> None:
    message = "Data could not be sent. Make sure this host can be reached over ssh: ssh: No route to host"
    (found,) = host_findings("node-1", ["ceph_osd"], {"unreachable": True, "msg": message}, {})
    assert (found.level, found.finding) == (WARNING, "cannot be reached: ssh: No route to host")


@pytest.mark.parametrize(
    ("run", "skipped", "level"),
    [
        (["all"], [], ERROR),
        (["ceph"], [], ERROR),
        (["all"], ["image"], ERROR),
        (["all"], ["ceph"], WARNING),
        (["registry", "proxies"], [], WARNING),
    ],
)
def test_a_monitor_that_is_away_stops_a_run_that_comes_to_storage(
    run: list[str], skipped: list[str], level: str
) -> None:
    tags = {"ansible_run_tags": run, "ansible_skip_tags": skipped}
    (found,) = host_findings("node-1", ["ceph_mon"], {"unreachable": True, "msg": "x"}, tags)
    assert (found.level, found.check) == (level, "reach")
    assert ("--skip-tags ceph" in found.hint) is (level == ERROR)


def test_a_host_without_python_is_an_error() -> None:
    (found,) = host_findings("node-1", [], {"failed": True, "msg": "x", "module_stderr": "python3: not found"}, {})
    assert (found.level, found.check) == (ERROR, "python") and "not found" in found.finding


SECRETS = dict.fromkeys(
    ("registry_password", "registry_reader_password", "registry_redis_password", "haproxy_password",
     "grafana_admin_password", "postgresql_superuser_password", "postgresql_replication_password",
     "postgresql_exporter_password", "redis_exporter_password", "redis_replication_password",
     "redis_sentinel_password"), "x"
)  # fmt: skip


def inventory(groups: dict[str, list[str]], **variables: Any) -> list[Finding]:
    hosts = sorted({host for members in groups.values() for host in members})
    place = {"registry_host": "10.0.0.1", "registry_redis_host": "10.0.0.1", "registry_ca_file": "ca.crt"}
    common = SECRETS | place | {"ceph_public_network": "10.0.0.0/24"} | variables
    own = {host: common | {"ansible_host": f"10.0.0.{number}"} for number, host in enumerate(hosts, 1)}
    return inventory_findings({"all": hosts, "ungrouped": [], **groups}, own, {})


GOOD = {
    "database": ["a"], "ceph_mon": ["a", "b", "c"], "ceph_mgr": ["a"], "ceph_osd": ["a", "b", "c"],
    "virtualization": ["b"], "manager": ["a"],
}  # fmt: skip


def test_a_good_inventory_has_no_findings() -> None:
    assert inventory(GOOD) == []


@pytest.mark.parametrize(
    ("groups", "variables", "level", "words"),
    [
        ({"database": ["a", "b"], "internal_haproxy": ["a"]}, {}, ERROR, "no majority"),
        ({"database": ["a", "b", "c"], "internal_haproxy": []}, {}, ERROR, "no proxy"),
        ({"ceph_mon": ["a", "b"]}, {}, WARNING, "2 hosts"),
        ({"ceph_mgr": []}, {}, ERROR, "ceph_mgr is empty"),
        ({"ceph_osd": ["a", "b"]}, {}, WARNING, "3 copies"),
        ({"databases": ["a"]}, {}, WARNING, "databases"),
        ({"ungrouped": ["z"]}, {}, WARNING, "in no group"),
        ({}, {"registry_password": ""}, ERROR, "registry_password is not set"),
        ({"external_haproxy": ["a"]}, {"haproxy_password": ""}, ERROR, "haproxy_password is not set"),
        (
            {},
            {"postgresql_exporter_password": ""},
            ERROR,
            "postgresql_exporter_password is not set, needed by database",
        ),
        ({}, {"redis_exporter_password": ""}, ERROR, "redis_exporter_password is not set, needed by database"),
        ({}, {"ceph_mgr_modules": ["dashboard"]}, ERROR, "ceph_dashboard_password is not set"),
        (
            {"external_haproxy": ["d"]},
            {"haproxy_shared_address": "10.0.0.9"},
            ERROR,
            "keepalived_password is not set, needed by external_haproxy Run make_secrets.yml",
        ),
        ({"awx": ["d"]}, {}, ERROR, "awx_k3s_url is not set, needed by awx Set it"),
        ({"awx": ["d"]}, {}, ERROR, "awx_k3s_checksum is not set"),
        ({"awx": ["d"]}, {}, ERROR, "awx_operator_manifest is not set"),
        ({"awx": ["d"]}, {}, ERROR, "awx_database_password is not set"),
        ({"awx": ["d"]}, {"awx_kubeconfig": "config"}, ERROR, "awx_operator_checksum is not set"),
        ({}, {"registry_redis_host": "10.0.0.2"}, ERROR, "registry_redis_host is 10.0.0.2"),
        ({}, {"ceph_public_network": "10.0.0.1/24"}, ERROR, "no network"),
        ({}, {"firewall_management_network": ["10.0.0.0/31"]}, ERROR, "not in firewall_management_network"),
        ({}, {"libvirt_network_subnet": "10.0.0.2/31"}, ERROR, "network of the guests"),
        ({}, {"redis_sentinel_password": "two words"}, ERROR, "redis_sentinel_password has a space"),
        ({}, {"registry_user": "virtfleet-rw"}, ERROR, "registry_user is virtfleet-rw"),
        ({}, {"keepalived_password": "a#b"}, ERROR, "keepalived_password has a space"),
        ({"internal_haproxy": ["a"]}, {}, ERROR, "is in internal_haproxy and in database"),
        ({"internal_haproxy": ["a"]}, {"haproxy_internal_addresses": ["*"]}, ERROR, "in ceph_mgr, which want"),
        ({}, {"prometheus_address": "10.1.0.1", "etcd_address": "10.1.0.2"}, ERROR, "etcd_address is 10.1.0.2"),
    ],
)
def test_each_mistake_is_found(groups: dict[str, list[str]], variables: dict[str, Any], level: str, words: str) -> None:
    found = inventory(GOOD | groups, **variables)
    assert any(one.level == level and words in f"{one.finding} {one.hint}" for one in found), found


AWX = dict.fromkeys(
    (
        "awx_admin_password",
        "awx_secret_key",
        "awx_database_password",
        "awx_operator_manifest",
        "awx_operator_checksum",
    ),
    "x",
)


@pytest.mark.parametrize(
    ("groups", "variables"),
    [
        ({}, {"ceph_mgr_modules": ["prometheus"]}),
        ({}, {"ceph_mgr_modules": ["dashboard"], "ceph_dashboard_password": "x"}),
        ({}, {"postgresql_exporter_password": "", "exporters_postgresql_password": "x"}),
        ({"external_haproxy": ["d"]}, {"haproxy_shared_address": "10.0.0.9", "haproxy_shared_password": "x"}),
        ({"awx": ["d"]}, {"awx_kubeconfig": "config", **AWX}),
        ({"awx": ["d"]}, {"awx_k3s_url": "x", "awx_k3s_checksum": "x", **AWX}),
        ({"internal_haproxy": ["a"]}, {"haproxy_internal_addresses": ["10.0.0.9"]}),
        ({}, {"prometheus_address": "10.1.0.1"}),
        ({}, {"redis_sentinel_password": "a#b!$%{{"}),
    ],
)
def test_what_is_not_needed_is_not_asked_for(groups: dict[str, list[str]], variables: dict[str, Any]) -> None:
    assert inventory(GOOD | groups, **variables) == []


def test_a_proxy_asks_several_databases_with_a_password() -> None:
    cluster = GOOD | {"database": ["a", "b", "c"], "internal_haproxy": ["d"]}
    place = {"registry_host": "10.0.0.4", "registry_redis_host": "10.0.0.4"}
    (found,) = inventory(cluster, redis_exporter_password="", exporters_redis_password="x", **place)
    assert found.finding == "redis_exporter_password is not set, needed by internal_haproxy"


def test_with_several_databases_the_registry_is_the_proxy() -> None:
    cluster = GOOD | {"database": ["a", "b", "c"], "internal_haproxy": ["d"]}
    assert [one.finding.split(",")[0] for one in inventory(cluster)] == [
        "registry_host is 10.0.0.1", "registry_redis_host is 10.0.0.1"
    ]  # fmt: skip
    assert inventory(cluster, registry_host="10.0.0.4", registry_redis_host="10.0.0.4") == []
    shared = dict.fromkeys(("registry_host", "registry_redis_host", "haproxy_shared_address"), "10.0.0.9")
    assert inventory(cluster, keepalived_password="x", **shared) == []
    beside = GOOD | {"database": ["a", "b", "c"], "internal_haproxy": ["a"]}
    another = dict.fromkeys(("registry_host", "registry_redis_host"), "10.0.0.21")
    assert inventory(beside, haproxy_internal_addresses=["10.0.0.21"], **another) == []
    everywhere = inventory(cluster, haproxy_internal_addresses=["0.0.0.0"], **dict.fromkeys(another, "0.0.0.0"))
    assert [one.finding.split(",")[0] for one in everywhere] == [
        "registry_host is 0.0.0.0",
        "registry_redis_host is 0.0.0.0",
    ]


@pytest.mark.parametrize(
    ("group", "address", "words"),
    [
        ("virtualization", "a.example.org", "by the name a.example.org"),
        ("database", "a.example.org", "by the name a.example.org"),
        ("manager", "a.example.org", "by the name a.example.org"),
        ("manager", "fd00::1", "by fd00::1, in IPv6"),
        ("manager", "10.0.0.1", ""),
    ],
)
def test_hosts_are_reached_by_ipv4_only(group: str, address: str, words: str) -> None:
    hosts = {"a": {"ansible_host": address}, "b": {"ansible_host": "10.0.0.2"}}
    found = [one.finding for one in inventory_findings({group: ["a"]}, hosts, {}) if one.check == "network"]
    assert len(found) == bool(words) and all(words in finding for finding in found), found


def test_hosts_of_several_inventories_have_one_ca() -> None:
    hosts = {name: {"ansible_host": name, "inventory_dir": f"/etc/{name}"} for name in ("a", "b")}
    found = [one.finding for one in inventory_findings({"manager": ["a", "b"]}, hosts, {}) if "several" in one.finding]
    assert found == ["hosts are of several inventories: /etc/a, /etc/b"]
    own = {name: variables | {"pki_directory": "/etc/pki"} for name, variables in hosts.items()}
    assert not any("several" in one.finding for one in inventory_findings({"manager": ["a", "b"]}, own, {}))


def test_all_databases_run_the_same_release() -> None:
    hosts = {name: {"ansible_host": f"10.0.0.{number}"} for number, name in enumerate("abc", 1)}
    seen = {name: HOST | {"hostname": name, "machine_id": name} for name in hosts}
    groups = {"database": list(hosts)}
    assert not any(one.check == "release" for one in inventory_findings(groups, hosts, seen))
    seen["b"]["release"] = "12"
    (found,) = (one for one in inventory_findings(groups, hosts, seen) if one.check == "release")
    assert found.level == ERROR and found.finding == "a runs Debian 13, b runs Debian 12, c runs Debian 13"


def test_a_name_stands_for_one_machine() -> None:
    variables = {host: {"ansible_host": "10.0.0.1"} for host in ("a", "b")}
    seen = {"a": HOST, "b": HOST}
    groups = {"manager": ["a", "b"]}
    names = [one for one in inventory_findings(groups, variables, seen) if one.check == "names"]
    assert [one.finding for one in names] == ["a and b have the address 10.0.0.1"]
    variables["b"] = {"ansible_host": "10.0.0.2"}
    names = [one for one in inventory_findings(groups, variables, seen) if one.check == "names"]
    assert [one.level for one in names] == [ERROR, WARNING]
