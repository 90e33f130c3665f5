"""Certificates and keys of a fleet: a certificate authority, the server's certificate, and a key pair a device.

    python deploy/certificates.py certificates --host superlink.example.org --host 192.168.1.10 --devices 4

Run it once on a machine that you trust. The server gets ``ca.crt``, ``server.crt``, ``server.key`` and every
``device-N.pub``; device N gets ``ca.crt`` and ``device-N.key``. Nobody gets ``ca.key``. Needs ``cryptography``, which
comes with Flower. Files that exist are kept, so that devices can be added later.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID_DAYS = 825


def make_certificates(folder: Path, hosts: list[str], devices: int) -> None:
    """Write what is missing. Private keys are readable by their owner only."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "ca.key").exists():
        key = _new_key(folder / "ca.key")
        _write(folder / "ca.crt", _certificate("EcoFed fleet", key, None, key, hosts=[]))
    ca_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    if not (folder / "server.key").exists():
        key = _new_key(folder / "server.key")
        _write(folder / "server.crt", _certificate(hosts[0], key, ca, ca_key, hosts=hosts))
    for device in range(devices):
        make_device_key(folder / f"device-{device}.key")


def make_device_key(path: Path) -> None:
    """A device's key pair: ``NAME.key`` stays on the device, ``NAME.pub`` is registered with the server."""
    if path.exists():
        return
    key = ec.generate_private_key(ec.SECP384R1())
    _write(path, _private(key, serialization.PrivateFormat.OpenSSH), secret=True)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    _write(path.with_suffix(".pub"), public)


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP384R1())
    _write(path, _private(key, serialization.PrivateFormat.PKCS8), secret=True)
    return key


def _private(key: ec.EllipticCurvePrivateKey, layout: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, layout, serialization.NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    hosts: list[str],
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_usage(authority=issuer is None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return builder.sign(issuer_key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes, *, secret: bool = False) -> None:
    path.touch(mode=0o600 if secret else 0o644)
    path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description="Certificates and keys of a fleet.")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--host", action="append", required=True, help="name or address of the server; repeatable")
    parser.add_argument("--devices", type=int, default=1, help="how many device keys there should be")
    arguments = parser.parse_args()
    make_certificates(arguments.folder, arguments.host, arguments.devices)
    print(f"{arguments.folder}: keep ca.key to yourself")


if __name__ == "__main__":
    main()
