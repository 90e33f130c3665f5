"""Keys and certificates of a fleet: both or neither, and what is there is looked at before it is kept."""

from __future__ import annotations

import datetime
import errno
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ecofed.errors import ConfigError, StorageError
from ecofed.fleet import certificates
from ecofed.fleet.certificates import make_certificates

HOSTS = ["fleet.example.org", "192.168.1.10"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    make_certificates(tmp_path / "keys", HOSTS, 1)
    return tmp_path / "keys"


def test_pairs_belong_together_and_secrets_are_secret(made: Path) -> None:
    assert sorted(contents(made)) == ["ca.crt", "ca.key", "device-0.key", "device-0.pub", "server.crt", "server.key"]
    for path in made.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.suffix == ".key" else 0o644), path
    ca, server = (x509.load_pem_x509_certificate((made / f"{name}.crt").read_bytes()) for name in ("ca", "server"))
    server.verify_directly_issued_by(ca)
    for name, certificate in (("ca", ca), ("server", server)):
        key = serialization.load_pem_private_key((made / f"{name}.key").read_bytes(), None)
        assert key.public_key() == certificate.public_key()


def test_what_is_there_is_kept_and_devices_are_added(made: Path) -> None:
    before = contents(made)
    make_certificates(made, HOSTS[:1], 2)
    after = contents(made)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"device-1.key", "device-1.pub"}


@pytest.mark.parametrize("failing", [1, 2, 3, 4, 5, 6])
def test_a_failure_leaves_no_key_without_its_certificate(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file it is that has no room: what lies there then is good, and the next start completes it."""
    replace, calls = os.replace, []

    def fill_up(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) >= failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    folder = tmp_path / "keys"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill_up)
        with pytest.raises(StorageError, match="No space left on device"):
            make_certificates(folder, HOSTS, 1)
    kept = contents(folder)
    for one, other in (("ca.key", "ca.crt"), ("server.key", "server.crt"), ("device-0.key", "device-0.pub")):
        assert (one in kept) == (other in kept)
    assert len(kept) == (failing - 1) // 2 * 2
    make_certificates(folder, HOSTS, 1)
    assert len(contents(folder)) == 6
    assert kept.items() <= contents(folder).items()


def test_a_certificate_that_an_earlier_failure_prevented_is_made(made: Path) -> None:
    before = contents(made)
    for name in ("ca.crt", "server.crt", "device-0.pub"):
        (made / name).unlink()
    make_certificates(made, HOSTS, 1)
    after = contents(made)
    assert sorted(after) == sorted(before)
    assert after["device-0.pub"] == before["device-0.pub"]
    assert {name: after[name] for name in after if name.endswith(".key")} == {
        name: before[name] for name in before if name.endswith(".key")
    }
    make_certificates(made, HOSTS, 1)  # and all of it belongs together


def swap(folder: Path, name: str, other: Path) -> None:
    (folder / name).write_bytes((other / name).read_bytes())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ca.crt", "ca.crt: does not belong to ca.key; delete it and ca.key to have both made anew"),
        ("ca.key", "ca.crt: does not belong to ca.key"),
        ("server.crt", "server.crt: is no certificate of this fleet"),
        ("server.key", "server.crt: does not belong to server.key"),
        ("device-0.pub", "device-0.pub: does not belong to device-0.key; delete it to have it made again"),
        ("device-0.key", "device-0.pub: does not belong to device-0.key"),
    ],
)
def test_halves_of_different_pairs_are_refused(name: str, words: str, made: Path, tmp_path: Path) -> None:
    make_certificates(tmp_path / "other", HOSTS, 1)
    swap(made, name, tmp_path / "other")
    with pytest.raises(ConfigError, match=words):
        make_certificates(made, HOSTS, 1)


@pytest.mark.parametrize("name", ["ca.key", "server.key", "device-0.key"])
def test_a_key_that_is_gone_is_not_replaced_in_silence(name: str, made: Path) -> None:
    (made / name).unlink()
    before = contents(made)
    with pytest.raises(ConfigError, match=f"{name}: is gone, and .* is there; put it back, or delete"):
        make_certificates(made, HOSTS, 1)
    assert contents(made) == before


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "server.key", "server.crt", "device-0.key"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\n", b"\xff\xfe"])
def test_half_a_file_is_refused(name: str, content: bytes, made: Path) -> None:
    (made / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name}: is no ") as caught:
        make_certificates(made, HOSTS, 1)
    assert "\n" not in str(caught.value)


def test_another_host_is_not_promised_what_the_certificate_does_not_hold(made: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.crt: is not for new\.example\.org; delete it and server\.key"):
        make_certificates(made, [HOSTS[0], "new.example.org"], 1)


def test_a_certificate_that_has_expired_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Past(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.now(tz) - datetime.timedelta(days=certificates.VALID_DAYS + 1)

    with monkeypatch.context() as patch:
        past = type("past", (), {"datetime": Past, "timedelta": datetime.timedelta, "UTC": datetime.UTC})
        patch.setattr(certificates, "datetime", past)
        make_certificates(tmp_path, HOSTS, 0)
    with pytest.raises(ConfigError, match=r"ca\.crt: has expired"):
        make_certificates(tmp_path, HOSTS, 0)


def test_a_key_that_others_may_read_is_told(made: Path) -> None:
    (made / "server.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"server\.key: others may read it; chmod 600 it"):
        make_certificates(made, HOSTS, 1)
