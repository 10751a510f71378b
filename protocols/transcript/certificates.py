"""Whose signature it is: self-signed ECDSA P-256 certificates, as parties pin them. Dates are not looked at."""

from __future__ import annotations

from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocols.core.errors import InvalidInput, VerificationFailed

MAX_PEM = 16 << 10
_ECDSA = ec.ECDSA(hashes.SHA256())


class Certificate:
    """A party's certificate.

    Args:
        pem: one certificate.

    Attributes:
        pem: the same in its one canonical spelling.
        fingerprint: SHA-256 of the DER form, lowercase hexadecimal.

    Raises:
        InvalidInput: it is not a self-signed certificate of an ECDSA P-256 key.
    """

    def __init__(self, pem: bytes) -> None:
        if len(pem) > MAX_PEM or b"PRIVATE KEY" in pem:
            raise InvalidInput("this is not a certificate")
        try:
            certificates = x509.load_pem_x509_certificates(pem)
            certificate = certificates[0]
            key = certificate.public_key()
            certificate.verify_directly_issued_by(certificate)
            der = certificate.public_bytes(serialization.Encoding.DER)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise InvalidInput("this is not a self-signed certificate in PEM form") from error
        if len(certificates) != 1 or not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise InvalidInput("a party has one certificate, of an ECDSA P-256 key")
        self._key = key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.fingerprint = sha256(der).hexdigest()

    def __repr__(self) -> str:
        return f"Certificate({self.fingerprint[:16]})"

    def verify(self, data: bytes, signature: bytes) -> None:
        """Raise `VerificationFailed` unless the certificate's owner has signed these bytes."""
        try:
            self._key.verify(signature, data, _ECDSA)
        except InvalidSignature as error:
            raise VerificationFailed("a signature does not belong to these bytes and this certificate") from error
