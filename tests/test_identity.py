"""Keys, certificates and the directory they live in."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from protocols.core.errors import VerificationFailed
from secure_hfl.errors import ConfigurationError, IdentityError
from secure_hfl.home import HOME_VARIABLE, home_directory, replaceable_by_others
from secure_hfl.identity import TLS_NAME, Identity, check_certificate, fingerprint_of, verify, warn_of_dates

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_made_once_and_loaded_again(tmp_path: Path) -> None:
    first = Identity.load_or_create(tmp_path / "home", "Hospital A")
    second = Identity.load_or_create(tmp_path / "home", None)
    assert second.name == "Hospital A"
    assert second.certificate_pem == first.certificate_pem
    assert second.private_key_pem == first.private_key_pem
    verify(first.certificate_pem, b"data", second.sign(b"data"))
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["identity"]


def test_only_the_owner_can_read_the_key(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path, "a")
    assert mode(tmp_path / "identity") == 0o700
    assert mode(tmp_path / "identity" / "key.pem") == 0o600


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, bits: int) -> None:
    Identity.load_or_create(tmp_path, "a")
    key = tmp_path / "identity" / "key.pem"
    key.chmod(bits)
    with pytest.raises(IdentityError, match=f"chmod 600 {key}"):
        Identity.load_or_create(tmp_path, "a")


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Identity.load_or_create(tmp_path, "a").fingerprint, range(8)))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


def test_a_default_name_says_nothing_about_the_machine(tmp_path: Path) -> None:
    one, other = Identity.load_or_create(tmp_path / "1"), Identity.load_or_create(tmp_path / "2")
    assert one.name.startswith("party-")
    assert one.name != other.name
    assert Identity.load_or_create(tmp_path / "1").name == one.name


def test_another_name_than_the_stored_one_is_an_error(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path, "a")
    with pytest.raises(IdentityError, match="is called 'a', not 'b'"):
        Identity.load_or_create(tmp_path, "b")


@pytest.mark.parametrize("name", ["", " a", "a\n", "x" * 65, "\x1b[0m"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(IdentityError, match="a party's name"):
        Identity.create(name)


def test_nothing_shows_the_key(tmp_path: Path) -> None:
    identity = Identity.load_or_create(tmp_path, "a")
    assert repr(identity) == f"Identity(name='a', fingerprint='{identity.fingerprint}')"
    with pytest.raises(IdentityError):
        pickle.dumps(identity)


@pytest.mark.parametrize("file", ["key.pem", "certificate.pem"])
@pytest.mark.parametrize("damage", ["empty", "noise", "missing", "another's"])
def test_a_damaged_identity_is_refused_without_showing_it(tmp_path: Path, file: str, damage: str) -> None:
    Identity.load_or_create(tmp_path / "home", "a")
    Identity.load_or_create(tmp_path / "other", "a")
    path = tmp_path / "home" / "identity" / file
    if damage == "missing":
        path.unlink()
    elif damage == "another's":
        shutil.copy(tmp_path / "other" / "identity" / file, path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"-----BEGIN noise-----")
    with pytest.raises(IdentityError, match="identity") as caught:
        Identity.load_or_create(tmp_path / "home", "a")
    assert "noise" not in str(caught.value)


def test_fingerprint_is_sha256_of_the_der_form() -> None:
    identity = Identity.create("a")
    der = x509.load_pem_x509_certificate(identity.certificate_pem).public_bytes(serialization.Encoding.DER)
    assert identity.fingerprint.replace(":", "").lower() == sha256(der).hexdigest()
    assert fingerprint_of(identity.certificate_pem) == identity.fingerprint
    assert check_certificate(identity.certificate_pem).der == der


@pytest.mark.parametrize(
    "change",
    [
        lambda data, signature, other: (data + b"x", signature),
        lambda data, signature, other: (data, signature[:-1]),
        lambda data, signature, other: (data, b""),
        lambda data, signature, other: (data, other.sign(data)),
    ],
    ids=["data", "truncated", "empty", "another's"],
)
def test_wrong_signatures(change: Callable[[bytes, bytes, Identity], tuple[bytes, bytes]]) -> None:
    identity, other = Identity.create("a"), Identity.create("a")
    signature = identity.sign(b"data")
    verify(identity.certificate_pem, b"data", signature)
    data, wrong = change(b"data", signature, other)
    with pytest.raises(VerificationFailed):
        verify(identity.certificate_pem, data, wrong)


def certificate(
    key: Any = None,
    signer: Any = None,
    names: tuple[str, ...] = (TLS_NAME,),
    authority: bool | None = False,
    common_names: tuple[str, ...] = ("a",),
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
) -> bytes:
    """A certificate that differs from a good one in what is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in common_names])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(end)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, None), True)
    return builder.sign(signer or key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_the_builder_below_makes_a_good_certificate() -> None:
    assert check_certificate(certificate()).name == "a"


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (lambda: b"", "PEM"),
        (lambda: b"noise", "PEM"),
        (lambda: b"x" * 20_000, "at most"),
        (lambda: certificate() + certificate(), "one certificate is needed, not 2"),
        (lambda: certificate() + Identity.create("a").private_key_pem, "private key"),
        (lambda: certificate(rsa.generate_private_key(65537, 2048)), "P-256"),
        (lambda: certificate(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (lambda: certificate(signer=ec.generate_private_key(ec.SECP256R1())), "self-signed"),
        (lambda: certificate(names=()), "self-signed"),
        (lambda: certificate(authority=None), "self-signed"),
        (lambda: certificate(names=("example.org",)), TLS_NAME),
        (lambda: certificate(names=(TLS_NAME, "example.org")), TLS_NAME),
        (lambda: certificate(authority=True), "authority"),
        (lambda: certificate(common_names=()), "one name"),
        (lambda: certificate(common_names=("a", "b")), "one name"),
        (lambda: certificate(common_names=("a\nb",)), "printable"),
        (lambda: certificate(start=NOW - 2 * DAY, end=NOW - DAY), "expired"),
        (lambda: certificate(start=NOW + DAY, end=NOW + 2 * DAY), "valid from"),
    ],
)
def test_certificates_that_are_refused(pem: Callable[[], bytes], problem: str) -> None:
    with pytest.raises(IdentityError, match=problem):
        check_certificate(pem())


def test_an_expired_certificate_still_has_a_fingerprint_and_verifies() -> None:
    """Records and transcripts outlive certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    expired = certificate(key, start=NOW - 2 * DAY, end=NOW - DAY)
    assert len(fingerprint_of(expired)) == 95
    verify(expired, b"data", key.sign(b"data", ec.ECDSA(hashes.SHA256())))


def test_an_expired_identity_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Identity.load_or_create(tmp_path, "a")

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return NOW + 6 * 365 * DAY

    monkeypatch.setattr("secure_hfl.identity.datetime", Later)
    with pytest.raises(IdentityError, match=r"expired on .* move that directory away"):
        Identity.load_or_create(tmp_path, "a")


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        (-1, 31, ""),
        (-1, 29.5, r"expires on {end:%Y-%m-%d}, in 29 days; its owner moves .* new task"),
        (-1, 0.5, r"expires on {end:%Y-%m-%d}, in 0 days"),
        (-2, -1, r"expired on {end:%Y-%m-%d}; its owner moves"),
        (1, 400, r"not valid before {start:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d} .*; set .* clock"),
    ],
    ids=["fine", "a month", "today", "expired", "a clock is wrong"],
)
def test_dates_that_need_a_warning(start: float, end: float, problem: str) -> None:
    begins, ends = NOW + start * DAY, NOW + end * DAY
    warnings: list[str] = []
    warn_of_dates({"bank": certificate(start=begins, end=ends)}, warnings.append)
    pattern = problem.format(start=begins, end=ends, now=NOW)
    assert len(warnings) == bool(problem)
    assert not problem or re.search(f"^The certificate of bank .*{pattern}", warnings[0])


def test_home_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "deep" / "home"
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    assert home_directory() == home
    assert mode(home) == 0o700
    home.chmod(0o750)
    with pytest.raises(ConfigurationError, match=f"chmod 700 {home}"):
        home_directory()


def test_missing_parents_of_the_home_are_private_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "new" / "home"))
    before = os.umask(0)
    try:
        home = home_directory()
    finally:
        os.umask(before)
    assert [mode(path) for path in (home, home.parent)] == [0o700, 0o700]
    assert replaceable_by_others(home) is None
    home.parent.chmod(0o720)
    assert f"chmod go-w {home.parent}" in str(replaceable_by_others(home))
    home.parent.chmod(0o1777)
    assert replaceable_by_others(home) is None, "in a sticky directory others cannot rename what is not theirs"


def test_home_defaults_to_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_directory() == tmp_path / ".secure-hfl"


def test_home_that_is_a_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match=HOME_VARIABLE):
        home_directory()
