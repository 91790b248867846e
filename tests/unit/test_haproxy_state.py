# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What HAProxy hands over of its servers at a reload."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "haproxy" / "files" / "virtfleet-haproxy-state"
CONFIGURATION = """
listen redis from tcp
    default-server port 8008 check-ssl
    server node-1 10.0.0.1:6379 check tcp-ut 10s
    server node-2 10.0.0.2:6379 check tcp-ut 10s
listen postgresql from tcp
    server node-1 10.0.0.1:5432 check tcp-ut 10s verify required ca-file /etc/ssl/certs/virtfleet-ca.crt
    server node-2 10.0.0.2:5433 check tcp-ut 10s
backend prometheus from http
    server node-1 10.0.0.1:9090 check tcp-ut 10s ssl verify required
    server node-2 10.0.0.2:9090 check tcp-ut 10s ssl verify required
"""
HEAD = [
    "1",
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
    " srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state"
    " bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr"
    " srv_agent_addr srv_agent_port",
]


def line(proxy: str, server: str, port: int, tls: int = 0, check_port: int = 0) -> str:
    return f"2 {proxy} 1 {server} 10.0.0.1 2 0 1 1 57 15 3 4 6 0 0 0 - {port} - {tls} {check_port} - - 0"


def test_what_the_configuration_says_anew_is_left_out(tmp_path: Path) -> None:
    kept = [*HEAD, line("redis", "node-1", 6379, 0, 8008), line("postgresql", "node-1", 5432)]
    kept += [line("prometheus", "node-2", 9090, 1)]
    # Another port to be checked, another port, no TLS yet, and a server that is gone.
    changed = [line("redis", "node-2", 6379), line("postgresql", "node-2", 5432), line("prometheus", "node-1", 9090)]
    changed += [line("awx", "a", 8052)]
    said = tmp_path / "said"
    said.write_text("\n".join(kept + changed) + "\n\n")
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(CONFIGURATION)
    socat = tmp_path / "socat"
    socat.write_text(f"#!/bin/sh\ncat {said}\n")
    socat.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run([SCRIPT, configuration], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n") == [*kept, ""]
