"""Do the host and a collaborator hold the same value? Each gets one guess at the other's, and learns nothing else.

    who begins (value c, secret x)                       who proves (value h, secret y)
    X = [x] G(c), in a message of the scheme  ---------->
                                              <----------  EqualityProof: Y = [y] G(h), SHA-256(role, X, Y, [y] X)
    compares it with its own, from [x] Y
    EqualityConfirmation: SHA-256(role, X, Y, [x] Y)  --->  compares it with its own, from [y] X

G maps a value and the place where it is compared (session, layer, version, batch) to Curve25519 as PSI maps an id. This
is a password-authenticated key exchange whose password is the value: [x] Y = [y] X exactly if G(c) = G(h). The role is
"host" or "collaborator", whichever speaks: who begins depends on what is compared.

**Theorem** (either party malicious, G and SHA-256 random oracles, strong Diffie-Hellman assumption on Curve25519). X
and Y are random elements of the group and independent of the values. A party passes only if it had put the other's very
value into its G: one guess for one comparison, tested by the other party and never offline, however few values are
possible. A wrong guess raises `VerificationFailed` at the other party, which ends the task. So a party whose guess is
right with probability p learns nothing with probability p that it did not know, and else one bit, and the task is over.
Who begins sees a wrong proof first, and if it cheats it may fall silent instead of saying so.

A hash of the value would not do: who receives it can try all likely values at leisure.

**Leaks** that the values are equal. G takes the same time for all values where the kernel in C computes here
(protocols/he/native/elligator.c); elsewhere Python's integers check it, and take not quite the same for all.

**Reference** CPace: Abdalla, Haase, Hesse, Security Analysis of CPace (ASIACRYPT 2021), with the map of
protocols/psi/encode.py. Bellare, Pointcheval, Rogaway (EUROCRYPT 2000) for the one guess.
"""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocols.core.errors import InvalidPoint, VerificationFailed
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import ReceiveInTest, Send, Steps, received
from protocols.he.engines import is_built, is_switched_off
from protocols.he.native.elligator import map_to_curve
from protocols.layer.messages import EqualityConfirmation, EqualityProof
from protocols.layer.shapes import Ring
from protocols.psi.curve import Scalar, check_point
from protocols.psi.encode import SUITE, encode_to_curve, expand_messages

_NAME = b"secure-hfl-equality-v1:"


class Comparison:
    """One party's secret and element of one comparison.

    Args:
        sender: which party.
        place: where the values are compared; the same bytes at both sides, and different ones each time.
        value: this party's, in the ring.

    Attributes:
        element: X, to be sent by who begins.
    """

    def __init__(self, sender: Sender, place: bytes, value: Ring) -> None:
        self._sender = sender
        digest = hashlib.sha256(place).digest()
        # One point at a time: a kernel for eight takes longer, and errs on points that a peer may look for (curve.py).
        self._key = X25519PrivateKey.from_private_bytes(Scalar(OsRandomness()).value)
        words = np.ascontiguousarray(value, "<u8").tobytes()
        self.element = self._times(_point(_NAME + SUITE.encode() + digest, words))

    def __repr__(self) -> str:
        return f"<Comparison at the {self._sender.role}>"

    def _times(self, point: bytes) -> bytes:
        return self._key.exchange(X25519PublicKey.from_public_bytes(point))

    def _shared(self, peer: bytes) -> bytes:
        try:
            check_point(peer)
        except InvalidPoint as error:
            raise InvalidPoint(f"the peer's element of a comparison: {error}") from None
        return self._times(peer)

    def verify(self, broken: str) -> Steps[None]:
        """Of who has begun: take the peer's proof, and confirm it. `broken`: what it says if the values differ.

        Raises:
            VerificationFailed: the peer's value is another.
            InvalidPoint: the peer's element is of low order, or not canonical.
        """
        proof = received((yield ReceiveInTest(EqualityProof)), EqualityProof)
        pair, shared = (self.element, proof.element), self._shared(proof.element)
        _compare(proof.tag, _tag(self._sender.other, pair, shared), broken)
        yield Send(EqualityConfirmation(_tag(self._sender, pair, shared)))

    def prove(self, peer: bytes, broken: str) -> Steps[None]:
        """Prove to the peer, who began with the element `peer`, that the values are equal. Errors as `verify`."""
        pair, shared = (peer, self.element), self._shared(peer)
        yield Send(EqualityProof(self.element, _tag(self._sender, pair, shared)))
        confirmation = received((yield ReceiveInTest(EqualityConfirmation)), EqualityConfirmation)
        _compare(confirmation.tag, _tag(self._sender.other, pair, shared), broken)


def _point(dst: bytes, value: bytes) -> bytes:
    """G. The same bytes either way."""
    if is_switched_off() or not is_built():
        return encode_to_curve(dst, [value])
    (uniform,) = expand_messages(dst, [value])
    return map_to_curve(uniform)


def _tag(sender: Sender, elements: tuple[bytes, bytes], shared: bytes) -> bytes:
    return hashlib.sha256(_NAME + sender.role.encode() + b":" + b"".join(elements) + shared).digest()


def _compare(theirs: bytes, ours: bytes, broken: str) -> None:
    if not hmac.compare_digest(theirs, ours):
        raise VerificationFailed(broken)


def wrong_projection(feature_key: str) -> str:
    """What a failed check of a projection says at either party."""
    return (
        f"the projection of {feature_key} is not a W^T, or the host's check asked for something else: the shares of "
        "the weights, or the encryption, are broken, or the peer cheats. Nothing can be trusted from here on"
    )
