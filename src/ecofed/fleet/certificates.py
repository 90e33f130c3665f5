"""Certificates and keys of a fleet: a certificate authority, the server's certificate, and a key pair a device.

The server gets ``ca.crt``, ``server.crt``, ``server.key`` and every ``device-N.pub``; device N gets ``ca.crt`` and
``device-N.key``. Nobody gets ``ca.key``. Needs ``cryptography``, which comes with Flower. Files that exist are checked
and kept, so that devices can be added later. A key and what goes with it are written together, or neither is.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ecofed.errors import ConfigError
from ecofed.files.disk import write_bytes, write_together
from ecofed.files.reading import content_of

VALID_DAYS = 825


def make_certificates(folder: Path, hosts: list[str], devices: int) -> None:
    """Write what is missing. Private keys are readable by their owner only, from their first byte on.

    Raises:
        ConfigError: files that are there do not belong together, are no keys or certificates, have expired, or are not
            for these hosts; or a key is gone whose certificate is there.
        StorageError: one cannot be written. Then a key without its certificate is not left behind.
    """
    for host in hosts:
        _host(host)
    ca_key = _key(folder / "ca", lambda key: _certificate("EcoFed fleet", key, None, key, hosts=[]))
    ca = _read_certificate(folder / "ca.crt", ca_key, None, [])
    server_key = _key(folder / "server", lambda key: _certificate(hosts[0], key, ca, ca_key, hosts=hosts))
    _read_certificate(folder / "server.crt", server_key, ca, hosts)
    for device in range(devices):
        make_device_key(folder / f"device-{device}.key")


def make_device_key(path: Path) -> None:
    """A device's key pair: ``NAME.key`` stays on the device, ``NAME.pub`` is registered with the server.

    Raises:
        ConfigError, StorageError: as :func:`make_certificates`.
    """
    place = path.with_suffix(".pub")
    if path.exists():
        public = _public(_read_key(path))
        if not place.exists():  # it follows from the key
            write_bytes(place, public)
        elif place.read_bytes().split()[:2] != public.split()[:2]:  # what comes after them is a comment
            raise ConfigError(f"{place}: does not belong to {path.name}; delete it to have it made again")
    elif place.exists():
        raise ConfigError(f"{path}: is gone, and {place.name} is there; put it back, or delete {place.name}")
    else:
        key = ec.generate_private_key(ec.SECP384R1())
        secret = _private(key, serialization.PrivateFormat.OpenSSH)
        write_together({place: _public(key), path: secret}, modes={path: 0o600})


def _key(stem: Path, certify: Callable[[ec.EllipticCurvePrivateKey], bytes]) -> ec.EllipticCurvePrivateKey:
    """The key that is there, or a new one, with its certificate beside it."""
    key_path, certificate_path = stem.with_suffix(".key"), stem.with_suffix(".crt")
    if key_path.exists():
        key = _read_key(key_path)
        if not certificate_path.exists():  # of a start that failed, when this was possible
            write_bytes(certificate_path, certify(key))
        return key
    if certificate_path.exists():
        raise ConfigError(
            f"{key_path}: is gone, and {certificate_path.name} is there; put it back, "
            f"or delete {certificate_path.name} to have both made anew"
        )
    key = ec.generate_private_key(ec.SECP384R1())
    secret = _private(key, serialization.PrivateFormat.PKCS8)
    write_together({certificate_path: certify(key), key_path: secret}, modes={key_path: 0o600})
    return key


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    data = content_of(path)
    load = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
    try:
        key = load(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: is no private key ({error})") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: is no key that this program made")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read it; chmod 600 it, or delete it where others may have read it")
    return key


def _read_certificate(
    path: Path, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, hosts: list[str]
) -> x509.Certificate:
    """A certificate that is good for what it is wanted for."""
    again = f"delete it and {path.stem}.key to have both made anew"
    try:
        certificate = x509.load_pem_x509_certificate(content_of(path))
        certificate.verify_directly_issued_by(issuer or certificate)
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) if hosts else []
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        reason = str(error) or "another authority made it"
        raise ConfigError(f"{path}: is no certificate of this fleet ({reason}); {again}") from None
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"{path}: does not belong to {path.stem}.key; {again}")
    if certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
        raise ConfigError(f"{path}: has expired; {again}")
    missing = [host for host in hosts if _host(host) not in names]
    if missing:
        raise ConfigError(f"{path}: is not for {missing[0]}; {again}")
    return certificate


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


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
        pass
    if re.fullmatch(r"[A-Za-z0-9*._-]+", host):
        return x509.DNSName(host)
    raise ConfigError(f"--host '{host}': is no host name (international ones in their xn-- form) and no address")
