# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Certificates that have ended are replaced and read, and libvirt lets in whom it should."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from .conftest import Lab

pytestmark = pytest.mark.slow

CERTIFICATE = "/etc/ssl/certs/virtfleet.crt"
METRICS = "/var/lib/prometheus/node-exporter/virtfleet-certificates.prom"
RENEW = "playbooks/renew_certificates.yml"


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def signed(lab: Lab, subject: x509.Name, public_key: Any, days: int, extensions: x509.Extensions) -> x509.Certificate:
    """A certificate of the lab's CA that begins ten days ago and ends in so many days."""
    pki, now = lab.inventory.parent / "pki", datetime.now(UTC)
    ca = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    key: Any = load_pem_private_key((pki / "ca.key").read_bytes(), None)
    begin, end = now - timedelta(days=10), now + timedelta(days=days)
    builder = x509.CertificateBuilder(ca.subject, subject, public_key, x509.random_serial_number(), begin, end)
    for extension in extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256())


def end_certificate(lab: Lab, host: str) -> None:
    """The host's certificate, but it has ended yesterday."""
    now = x509.load_pem_x509_certificate(lab.on(host, "cat", CERTIFICATE).encode())
    ended = signed(lab, now.subject, now.public_key(), -1, now.extensions)
    write(lab, host, CERTIFICATE, pem(ended))


def write(lab: Lab, host: str, path: str, text: str) -> None:
    lab.on(host, "sh", "-c", f"cat > {path}", stdin=text)


def remote_libvirt(lab: Lab, host: str, client: str = "", path: str = "") -> str:
    """The name that libvirt of a host says it has, asked by another with its certificate, or with those of a path."""
    uri = f"qemu+tls://{host}/system" + (f"?pkipath={path}" if path else "")
    return lab.on(client or lab.hosts("virtualization")[1], "virsh", "--connect", uri, "hostname").strip()


def test_right_certificates_stay(lab: Lab) -> None:
    again = lab.play(RENEW)
    assert again.ok and again.unchanged, again.output


def test_libvirt_is_reached_by_nodes(lab: Lab) -> None:
    first, second = lab.hosts("virtualization")[:2]
    assert remote_libvirt(lab, first, second) == first
    listening = lab.on(first, "ss", "--tcp", "--listening", "--numeric", "--no-header")
    assert re.search(r" 10[.]\S+:16514 ", listening) and "16509" not in listening, listening
    assert not re.search(r"(0[.]0[.]0[.]0|\*|\[::\]):16514 ", listening), listening


@pytest.mark.parametrize("unit", ["virtualization", "ceph"])
def test_libvirt_refuses_what_is_no_node_or_manager(lab: Lab, unit: str) -> None:
    first, second = lab.hosts("virtualization")[:2]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, "proxy-1"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
    ])  # fmt: skip
    lab.on(second, "mkdir", "-p", "/run/pki-test")
    write(lab, second, "/run/pki-test/cacert.pem", (lab.inventory.parent / "pki" / "ca.crt").read_text())
    write(
        lab, second, "/run/pki-test/clientcert.pem", pem(signed(lab, subject, key.public_key(), 1, x509.Extensions([])))
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    write(lab, second, "/run/pki-test/clientkey.pem", private)
    try:
        if unit == "virtualization":
            assert remote_libvirt(lab, first, second, "/run/pki-test") == first
        else:
            with pytest.raises(AssertionError, match="TLS confirmation"):
                remote_libvirt(lab, first, second, "/run/pki-test")
    finally:
        lab.on(second, "rm", "-r", "/run/pki-test")


def test_libvirt_works_again_after_its_certificate_ended(lab: Lab) -> None:
    first = lab.hosts("virtualization")[0]
    end_certificate(lab, first)
    # It does not even start with one that has ended.
    lab.on(first, "sh", "-c", "systemctl restart libvirtd.service || true")
    with pytest.raises(AssertionError, match="failed to connect"):
        remote_libvirt(lab, first)
    renewed = lab.play(RENEW)
    assert renewed.ok and f"{first} gets a certificate: it ends at" in renewed.output, renewed.output
    assert remote_libvirt(lab, first) == first
    process = lab.on(first, "systemctl", "show", "--property", "MainPID", "libvirtd.service")
    # A certificate that is replaced in time is read by the libvirtd that runs.
    assert lab.play(RENEW, "--limit", first, pki_renew=True).ok
    assert lab.on(first, "systemctl", "show", "--property", "MainPID", "libvirtd.service") == process
    assert remote_libvirt(lab, first) == first
    ends = [float(line.split()[1]) for line in lab.on(first, "cat", METRICS).splitlines()]
    assert len(ends) == 2 and min(ends) > time.time() + 300 * 86400


def test_the_registry_works_again_after_its_certificate_ended(lab: Lab, tmp_path: Path) -> None:
    host = lab.hosts("database")[0]
    end_certificate(lab, host)
    lab.on(host, "systemctl", "reload", "postgresql.service")
    failed = lab.play("playbooks/list_vms.yml")
    assert not failed.ok and "certificate verify failed" in " ".join(failed.output.split()), failed.output
    renewed = lab.play(RENEW)
    assert renewed.ok, renewed.output
    lab.vms(tmp_path)


def test_a_ca_that_ends_is_told_of_and_renewed(lab: Lab) -> None:
    refused = lab.play(RENEW, pki_renew_days=4000)
    assert not refused.ok and "pki_renew_ca=true" in refused.output, refused.output
    authority = lab.inventory.parent / "pki" / "ca.crt"
    before = x509.load_pem_x509_certificate(authority.read_bytes())
    renewed = lab.play(RENEW, pki_renew_ca=True)
    assert renewed.ok, renewed.output
    after = x509.load_pem_x509_certificate(authority.read_bytes())
    assert after.public_key() == before.public_key() and after.serial_number != before.serial_number
    for host in lab.hosts("ceph_osd"):
        lab.on(host, "openssl", "verify", "-CAfile", "/etc/ssl/certs/virtfleet-ca.crt", CERTIFICATE)
        assert lab.on(host, "cat", "/etc/ssl/certs/virtfleet-ca.crt") == authority.read_text()
    for host in lab.hosts("manager"):
        assert lab.on(host, "cat", "/etc/virtfleet/manager/registry.crt") == authority.read_text()
