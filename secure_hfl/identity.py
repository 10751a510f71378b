"""Who a party is: an ECDSA P-256 key and a self-signed certificate, made once and kept in the home directory.

    home/identity/               0700
    home/identity/key.pem        0600, the private key; never leaves this machine
    home/identity/certificate.pem      what peers pin, exchanged out of band like an ssh key

There is no authority: a certificate is trusted because people compared its fingerprint. The name in it is a label.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocols.core.errors import VerificationFailed
from protocols.core.sentence import say
from secure_hfl.errors import IdentityError
from secure_hfl.home import Problem, make_private_directory, privacy_problem

TLS_NAME = "secure-hfl.party"
"""The DNS name in every party's certificate. Peers are told apart by the certificate, not by an address."""

VALIDITY = timedelta(days=5 * 365)
CLOCK_SKEW = timedelta(days=1)
EXPIRES_SOON = timedelta(days=30)
RENEWAL = (
    "its owner moves its identity directory away, runs secure-hfl identity and gives the others the new certificate; "
    "then the host creates a new task with it"
)
MAX_NAME = 64
MAX_CERTIFICATE_BYTES = 16 << 10

_SIGNATURE = ec.ECDSA(hashes.SHA256())
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class PartyCertificate:
    """A certificate that this project accepts.

    Attributes:
        name: What its owner calls itself.
        fingerprint: SHA-256 of the DER form, as `openssl x509 -fingerprint -sha256` shows it.
        der: The certificate.
    """

    name: str
    fingerprint: str
    der: bytes


class Identity:
    """This party's key and certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate_pem: bytes) -> None:
        certificate = check_certificate(certificate_pem)
        if key.public_key() != _load(certificate_pem).public_key():
            raise IdentityError("the identity's key and certificate do not belong together")
        self._key = key
        self.name = certificate.name
        self.fingerprint = certificate.fingerprint
        self.certificate_pem = certificate_pem

    def __repr__(self) -> str:
        return f"Identity(name={self.name!r}, fingerprint={self.fingerprint!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise IdentityError("an identity is not copied between processes; load it from its home there")

    @classmethod
    def create(cls, name: str | None = None) -> Identity:
        """A new identity, in memory only. Without a name it is called after its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _self_signed(key, _default_name(key) if name is None else name))

    @classmethod
    def load_or_create(cls, home: Path, name: str | None = None) -> Identity:
        """The identity of a home directory, made if there is none.

        Args:
            home: The party's directory.
            name: Its name, printable, at most 64 characters. None: whatever it is, or a name made from the new key.

        Raises:
            IdentityError: It is called otherwise, has expired, is damaged, or others can read it. Says what to do.
        """
        directory = directory_in(home)
        if not directory.exists():
            _store(cls.create(name), directory)
        identity = cls._load(directory)
        if name not in (None, identity.name):
            raise IdentityError(
                say(
                    "the identity in {directory} is called {own!r}, not {name!r}; use that name or another home; "
                    "or, if no task uses it yet, remove the directory and make another identity",
                    directory=directory,
                    own=identity.name,
                    name=name,
                )
            )
        return identity

    @classmethod
    def _load(cls, directory: Path) -> Identity:
        key_path = directory / "key.pem"
        try:
            pem = _read_private(key_path)
            certificate_pem = (directory / "certificate.pem").read_bytes()
        except OSError as error:
            raise IdentityError(
                say("the identity in {directory} cannot be read: {error}", directory=directory, error=error.strerror)
            ) from error
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            # Without the cause: it must not show what the file holds.
            raise IdentityError(say("{path} holds no private key that this program made", path=key_path)) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise IdentityError(say("{path} holds no private key that this program made", path=key_path))
        try:
            return cls(key, certificate_pem)
        except IdentityError as error:
            raise IdentityError(
                say(
                    "the identity in {directory} cannot be used: {error}; move that directory away to get a new "
                    "identity, and give your peers its certificate",
                    directory=directory,
                    error=str(error),
                )
            ) from error

    @property
    def private_key_pem(self) -> bytes:
        """The private key, for the TLS library only."""
        return _key_pem(self._key)

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature (SHA-256, DER). The caller sees to domain separation."""
        return self._key.sign(data, _SIGNATURE)


def directory_in(home: Path) -> Path:
    """Where a home has its identity, if it has one."""
    return home / "identity"


def verify(certificate_pem: bytes, data: bytes, signature: bytes) -> None:
    """Raise `VerificationFailed` unless the certificate's owner has signed these bytes.

    The certificate's dates are not looked at: a transcript can be audited later.
    """
    try:
        _public_key(_load(certificate_pem)).verify(signature, data, _SIGNATURE)
    except InvalidSignature as error:
        raise VerificationFailed("a signature does not belong to these bytes and this certificate") from error


def fingerprint_of(certificate_pem: bytes) -> str:
    """SHA-256 of a certificate's DER form in hexadecimal with colons. Raises IdentityError if it is no certificate."""
    return _fingerprint(_der(_load(certificate_pem)))


def digest_of(certificate_pem: bytes) -> bytes:
    """The same fingerprint as 32 bytes."""
    return sha256(_der(_load(certificate_pem))).digest()


def check_certificate(certificate_pem: bytes) -> PartyCertificate:
    """What a peer's certificate says, if it is one that this project makes and is valid today.

    Raises:
        IdentityError: It is not. Says why.
    """
    certificate = _load(certificate_pem)
    _public_key(certificate)
    now = datetime.now(timezone.utc)
    if now < certificate.not_valid_before_utc:
        raise IdentityError(
            say(
                "the certificate is valid from {begin:%Y-%m-%d}: check the clock",
                begin=certificate.not_valid_before_utc,
            )
        )
    if now > certificate.not_valid_after_utc:
        raise IdentityError(say("the certificate expired on {end:%Y-%m-%d}", end=certificate.not_valid_after_utc))
    try:
        certificate.verify_directly_issued_by(certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        dns_names = names.get_values_for_type(x509.DNSName)
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise IdentityError("the certificate is not a self-signed one that secure-hfl makes") from error
    if dns_names != [TLS_NAME] or is_authority:
        raise IdentityError(say("the certificate must be for {name} only, and not an authority's", name=TLS_NAME))
    der = _der(certificate)
    return PartyCertificate(_name_of(certificate), _fingerprint(der), der)


def rewritten(certificate_pem: bytes) -> bytes:
    """The certificate as this program writes it: mail and forms break lines elsewhere, which gRPC does not read.

    What is no certificate comes back as it is; `check_certificate` says what is wrong with it.
    """
    try:
        return _load(certificate_pem).public_bytes(serialization.Encoding.PEM)
    except IdentityError:
        return certificate_pem


def valid_until(certificate_pem: bytes) -> datetime:
    """When a certificate expires, in UTC. Raises IdentityError if it is none."""
    return _load(certificate_pem).not_valid_after_utc


def validity_problem(certificate_pem: bytes) -> Problem | None:
    """What is wrong with a certificate's dates, or will be within 30 days. Continues "the certificate of X ..."."""
    certificate, now = _load(certificate_pem), datetime.now(timezone.utc)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        text = "is not valid before {begins:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M}"
        what = say(text, begins=begins, now=now)
        return Problem(what, "set this machine's clock, or the one where it was made (timedatectl set-ntp true)")
    if now > ends:
        return Problem(say("expired on {ends:%Y-%m-%d}", ends=ends), RENEWAL)
    if ends - now < EXPIRES_SOON:
        what = say("expires on {ends:%Y-%m-%d}, in {days} days", ends=ends, days=(ends - now).days)
        return Problem(what, RENEWAL)
    return None


def warn_of_dates(certificates: Mapping[str, bytes], warn: Callable[[str], None]) -> None:
    """Call `warn` with a line for every party whose certificate has expired, will soon, or is not valid yet."""
    for name, pem in certificates.items():
        if problem := validity_problem(pem):
            warn(f"The certificate of {name} {problem}.")


# Inner parts ---------------------------------------------------------------------------------------------------------


def _load(pem: bytes) -> x509.Certificate:
    if b"PRIVATE KEY" in pem:
        raise IdentityError("this holds a private key: it must never leave its machine; give certificate.pem only")
    if len(pem) > MAX_CERTIFICATE_BYTES:
        raise IdentityError(
            say("a certificate has at most {most} bytes, not {n}", most=MAX_CERTIFICATE_BYTES, n=len(pem))
        )
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise IdentityError("this is not a certificate in PEM form") from error
    if len(certificates) != 1:
        raise IdentityError(say("one certificate is needed, not {n}", n=len(certificates)))
    return certificates[0]


def _public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError("the certificate's key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityError("the certificate's key must be ECDSA P-256")
    return key


def _name_of(certificate: x509.Certificate) -> str:
    try:
        names = [
            str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        ]
    except ValueError as error:
        raise IdentityError("the certificate's name cannot be read") from error
    if len(names) != 1:
        raise IdentityError("the certificate must have one name")
    return _checked_name(names[0])


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise IdentityError(
            say("a party's name has 1 to {most} printable characters, none of them a space at an end", most=MAX_NAME)
        )
    return name


def _default_name(key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return f"party-{sha256(public).hexdigest()[:8]}"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _fingerprint(der: bytes) -> str:
    return sha256(der).digest().hex(":").upper()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _checked_name(name))])
    now = datetime.now(timezone.utc)
    # The key identifiers let TLS tell apart the certificates of parties that chose the same name.
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(_PEM)


def _store(identity: Identity, directory: Path) -> None:
    """Write both files beside their place and move them there at once, so that nobody sees half an identity."""
    try:
        make_private_directory(directory.parent)
        fresh = Path(tempfile.mkdtemp(prefix="identity.", dir=directory.parent))
    except OSError as error:
        raise IdentityError(
            say("{directory} cannot be made: {error}", directory=directory, error=error.strerror)
        ) from error
    try:
        _write_new(fresh / "key.pem", identity.private_key_pem, 0o600)
        _write_new(fresh / "certificate.pem", identity.certificate_pem, 0o644)
        try:
            fresh.rename(directory)
        except OSError as error:
            # Another process was faster; its identity is the one.
            if not directory.is_dir():
                raise IdentityError(
                    say("{directory} cannot be written: {error}", directory=directory, error=error.strerror)
                ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_private(path: Path) -> bytes:
    with path.open("rb") as file:
        if problem := privacy_problem(path, os.fstat(file.fileno())):
            raise IdentityError(str(problem))
        return file.read(MAX_CERTIFICATE_BYTES)
