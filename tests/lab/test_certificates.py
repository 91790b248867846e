# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Certificates that ended are replaced, one's own are checked, both are read; libvirt lets in whom it should."""

from __future__ import annotations

import re
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
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
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .conftest import CA, Lab

pytestmark = pytest.mark.slow

CERTIFICATE, KEY = "/etc/ssl/certs/virtfleet.crt", "/etc/ssl/private/virtfleet.key"
METRICS = "/var/lib/prometheus/node-exporter/virtfleet-certificates.prom"
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
RENEW = "playbooks/renew_certificates.yml"


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def private(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass(frozen=True)
class Authority:
    """A CA, as it is on the controller."""

    directory: Path
    subject: x509.Name
    key: Any

    def signed(self, subject: x509.Name, public_key: Any, days: int, extensions: x509.Extensions) -> x509.Certificate:
        """A certificate that begins ten days ago and ends in so many days."""
        now = datetime.now(UTC)
        begin, end = now - timedelta(days=10), now + timedelta(days=days)
        builder = x509.CertificateBuilder(self.subject, subject, public_key, x509.random_serial_number(), begin, end)
        for extension in extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def file(self) -> Path:
        return self.directory / "ca.crt"

    def give(self, host: str, names: list[str], days: int = 30, is_client: bool = True) -> int:
        """Make key and certificate of a host, for names and addresses; the serial number."""
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] + ([ExtendedKeyUsageOID.CLIENT_AUTH] if is_client else [])
        key = ec.generate_private_key(ec.SECP256R1())
        others: list[x509.GeneralName] = [x509.IPAddress(ip_address(name)) for name in names if name[0].isdigit()]
        extensions = [
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names if not name[0].isdigit()] + others),
            key_usage("digital_signature", "key_encipherment"),
            x509.ExtendedKeyUsage(usages),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
        ]
        certificate = self.signed(called(host), key.public_key(), days, extended(*extensions))
        (self.directory / f"{host}.crt").write_text(pem(certificate))
        (self.directory / f"{host}.key").write_text(private(key))
        return certificate.serial_number


def called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def key_usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in wanted for usage in USAGES})


def extended(*values: x509.ExtensionType) -> x509.Extensions:
    critical = (x509.BasicConstraints, x509.KeyUsage)
    return x509.Extensions([x509.Extension(value.oid, isinstance(value, critical), value) for value in values])


def authority_of(lab: Lab) -> Authority:
    pki = lab.inventory.parent / "pki"
    certificate = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    return Authority(pki, certificate.subject, load_pem_private_key((pki / "ca.key").read_bytes(), None))


def another_authority(directory: Path) -> Authority:
    """One that the lab does not know, though it is called like one of these."""
    made = Authority(directory, called("virtfleet CA"), ec.generate_private_key(ec.SECP256R1()))
    extensions = extended(
        x509.BasicConstraints(ca=True, path_length=0),
        key_usage("key_cert_sign", "crl_sign"),
        x509.SubjectKeyIdentifier.from_public_key(made.key.public_key()),
    )
    made.file.write_text(pem(made.signed(made.subject, made.key.public_key(), 100, extensions)))
    return made


def shown(address: str, port: int, authority: Authority) -> int:
    """The serial number of the certificate that is shown at an address, and that is good for it by the authority."""
    context = ssl.create_default_context(cafile=authority.file)
    with (
        socket.create_connection((address, port), 20) as plain,
        context.wrap_socket(plain, server_hostname=address) as encrypted,
    ):
        certificate = encrypted.getpeercert(binary_form=True)
    assert certificate
    return x509.load_der_x509_certificate(certificate).serial_number


def end_certificate(lab: Lab, host: str) -> None:
    """The host's certificate, but it has ended yesterday."""
    now = x509.load_pem_x509_certificate(lab.on(host, "cat", CERTIFICATE).encode())
    ended = authority_of(lab).signed(now.subject, now.public_key(), -1, now.extensions)
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
    certificate = authority_of(lab).signed(subject, key.public_key(), 1, x509.Extensions([]))
    write(lab, second, "/run/pki-test/clientcert.pem", pem(certificate))
    write(lab, second, "/run/pki-test/clientkey.pem", private(key))
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


def test_a_certificate_is_replaced_before_it_ends(lab: Lab) -> None:
    host = lab.hosts("database")[0]
    postgresql = f"openssl s_client -connect {lab.address(host)}:5432 -starttls postgres </dev/null 2>/dev/null"
    ports = [6379] + [
        port for group, port in (("monitoring", 9090), ("external_haproxy", 443)) if host in lab.hosts(group)
    ]

    def served() -> list[str]:
        serial = lab.on(host, "sh", "-c", f"{postgresql} | openssl x509 -noout -serial")
        return [serial, *(str(shown(lab.address(host), port, authority_of(lab))) for port in ports)]

    before = served()
    # It is good for a year, and its CA for ten.
    renewed = lab.play(RENEW, "--limit", host, pki_renew_days=400)
    assert renewed.ok and f"{host} gets a certificate: it ends at" in renewed.output, renewed.output
    assert not set(served()) & set(before)
    again = lab.play(RENEW)
    assert again.ok and again.unchanged, again.output


def test_certificates_of_ones_own_are_served(lab: Lab, tmp_path: Path) -> None:
    node, monitoring = lab.hosts("virtualization")[0], lab.hosts("monitoring")[0]
    # What is there of one host: the proxy verifies Prometheus, and both have another CA for a while.
    assert lab.hosts("external_haproxy")[0] == monitoring
    places = [(monitoring, 443), (monitoring, 9090), (monitoring, 9093), (node, 16514)]
    limit = ("--limit", f"{monitoring},{node}")
    own = another_authority(tmp_path)
    given = {host: own.give(host, [host, lab.address(host)]) for host in (monitoring, node)}
    try:
        played = lab.play(RENEW, *limit, pki_own_directory=str(tmp_path))
        assert played.ok, played.output
        assert all(shown(lab.address(host), port, own) == given[host] for host, port in places)
        again = lab.play(RENEW, *limit, pki_own_directory=str(tmp_path))
        assert again.ok and again.unchanged, again.output
    finally:
        for host in given:
            # The host would go on with it, though others may have it.
            lab.on(host, "rm", "-f", KEY)
        restored = lab.play(RENEW, *limit)
    assert restored.ok, restored.output
    for host, port in places:
        assert shown(lab.address(host), port, authority_of(lab)) != given[host]
    assert remote_libvirt(lab, node) == node


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("ended", "{host}.crt: It has ended, at 20"),
        ("of another key", "{host}.crt: Its key is another one than that of {directory}/{host}.key."),
        ("of another host", "{host}.crt: It is not for DNS:{host}, IP:{address}."),
        ("of servers only", "{host}.crt: It is not made for TLS Web Client Authentication, which it is used for."),
        ("of another CA", "{host}.crt: It does not lead to {directory}/ca.crt (Cannot complete chain"),
    ],
)
def test_a_certificate_of_ones_own_that_is_wrong_is_refused(lab: Lab, tmp_path: Path, fault: str, message: str) -> None:
    host, other = lab.hosts("external_haproxy")[0], lab.hosts("virtualization")[0]
    names = [other, lab.address(other)] if fault == "of another host" else [host, lab.address(host)]
    own = another_authority(tmp_path)
    own.give(host, names, days=-1 if fault == "ended" else 30, is_client=fault != "of servers only")
    if fault == "of another key":
        (tmp_path / f"{host}.key").write_text(private(ec.generate_private_key(ec.SECP256R1())))
    if fault == "of another CA":
        another_authority(tmp_path)

    def what_is_there() -> tuple[str, int]:
        return lab.on(host, "sha256sum", CERTIFICATE, KEY, CA), shown(lab.address(host), 443, authority_of(lab))

    before = what_is_there()
    try:
        refused = lab.play(RENEW, "--limit", host, pki_own_directory=str(tmp_path))
        expected = message.format(host=host, directory=tmp_path, address=lab.address(host))
        assert not refused.ok and expected in " ".join(refused.output.split()), refused.output
        assert what_is_there() == before
    finally:
        again = lab.play(RENEW, "--limit", host)
    assert again.ok and again.unchanged, again.output


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
        lab.on(host, "openssl", "verify", "-CAfile", CA, CERTIFICATE)
        assert lab.on(host, "cat", CA) == authority.read_text()
    for host in lab.hosts("manager"):
        assert lab.on(host, "cat", "/etc/virtfleet/manager/registry.crt") == authority.read_text()
