"""Collaborators agree on secrets of their own, pair by pair, through a host that must not know them: fusion="sum".

    collaborator k                                            host
    SumKey(X_k = [x_k] B, signature by k)   -------------->   waits for all
                                            <--------------   SumKeys(all X, all signatures), in the manifest's order
    checks every signature
    seed_kj = SHA-256(tag, manifest, k, j, X_k, X_j, [x_k] X_j)      the same at j

A signature is by the key of the certificate that the manifest names, over the digest of the manifest, the signer's
fingerprint and X. So a key counts only among collaborators who have accepted the very same manifest, with its session,
to which each has given a fresh nonce; and a key that the host puts in place of another's is found
(`VerificationFailed`), since each collaborator knows the others' certificates from the invite. What that cannot find:
collaborators that the host has invented and put into the invite. They are parties like others, and what they know the
host knows. So look at whom the invite names.

**Leaks** nothing: X is a public key, fresh for every session. Under the computational Diffie-Hellman assumption on
Curve25519, with SHA-256 a random oracle, seed_kj is uniform to everybody but k and j, also to a malicious host.

**Reference** signed Diffie-Hellman: Canetti, Krawczyk (EUROCRYPT 2001). X25519: RFC 7748. What the seeds are for:
protocols/layer/pads.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from protocols.core.errors import InvalidInput, InvalidPoint, RoleAlreadyUsed, VerificationFailed
from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.randomness import Randomness
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes
from protocols.core.steps import Receive, Send, Steps, received
from protocols.core.wire_format import wire
from protocols.layer.pads import Pads, PairSeed
from protocols.psi.curve import Scalar, multiply
from protocols.task.manifest import MAX_PARTIES, Manifest
from protocols.transcript.certificates import Certificate
from protocols.transcript.messages import MAX_SIGNATURE, MIN_SIGNATURE
from protocols.wire.sizes import data

KEY_BYTES = 32

_BASE = (9).to_bytes(KEY_BYTES, "little")
_SIGNED = b"secure-hfl sum key v1\n"
_SEED = b"secure-hfl sum seed v1\n"

_LEARNED = public(
    "the public keys by which the collaborators hide their projections from {host} but for the sum",
    "Diffie-Hellman on Curve25519, signed by the collaborators' certificates; fresh for every session.",
)


def _many(count: int) -> Range:
    low, high = data(KEY_BYTES) + data(MIN_SIGNATURE), data(KEY_BYTES) + data(MAX_SIGNATURE)
    return count * low, count * high


def _check(message: Message, key: object, signature: object) -> None:
    message.require(isinstance(key, bytes) and len(key) == KEY_BYTES, f"a key has {KEY_BYTES} bytes")
    fits = isinstance(signature, bytes) and MIN_SIGNATURE <= len(signature) <= MAX_SIGNATURE
    message.require(fits, f"a signature has {MIN_SIGNATURE} to {MAX_SIGNATURE} bytes")


def _one_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
    return _many(1)


def _all_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
    return _many(len(task.agreed.collaborators))


@wire(35, ledger=_LEARNED, bounds=_one_bounds)
@dataclass(frozen=True)
class SumKey(Message):
    """A collaborator's public key for this session, signed by its certificate.

    **Leaks** nothing.
    """

    key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check(self, self.key, self.signature)


@wire(36, ledger=_LEARNED, bounds=_all_bounds)
@dataclass(frozen=True)
class SumKeys(Message):
    """Those of all collaborators, in the manifest's order.

    **Leaks** nothing.
    """

    keys: tuple[bytes, ...]
    signatures: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require(isinstance(self.keys, tuple) and isinstance(self.signatures, tuple), "keys and signatures")
        count = len(self.keys)
        self.require(2 <= count <= MAX_PARTIES, f"2 to {MAX_PARTIES} keys")
        self.require(len(self.signatures) == count, "as many signatures as keys")
        for key, signature in zip(self.keys, self.signatures):
            _check(self, key, signature)


class HostSumKeys:
    """The host's part: it relays. `hear` each collaborator, then `tell` each. One-shot.

    Args:
        manifest: that all have accepted.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._heard: dict[str, SumKey | None] = dict.fromkeys(manifest.feature_keys)

    def hear(self, name: str) -> Steps[None]:
        """A collaborator's key. The host need not check it: those whom it is for do."""
        if self._heard[name] is not None:
            raise RoleAlreadyUsed(f"{name} has sent its key before")
        self._heard[name] = received((yield Receive(SumKey)), SumKey)

    def tell(self) -> Steps[None]:
        """All keys, to one of them."""
        heard = [each for each in self._heard.values() if each is not None]
        if len(heard) < len(self._heard):
            raise InvalidInput("not all collaborators have sent their keys")
        yield Send(SumKeys(tuple(each.key for each in heard), tuple(each.signature for each in heard)))


class CollaboratorSumKeys:
    """A collaborator's part. One-shot.

    Args:
        manifest: that this party has accepted.
        name: this party's feature key.
        certificates: of all collaborators by fingerprint (SHA-256), as they are pinned.
        sign: by this party's key.
        randomness: of x.

    Raises:
        InvalidInput: a certificate is missing.
    """

    def __init__(
        self,
        manifest: Manifest,
        name: str,
        certificates: Mapping[bytes, Certificate],
        sign: Callable[[bytes], bytes],
        randomness: Randomness,
    ) -> None:
        missing = set(manifest.fingerprints) - set(certificates)
        if missing:
            raise InvalidInput("the certificates of all collaborators must be known")
        self._manifest, self._certificates, self._sign = manifest, certificates, sign
        self._at = manifest.feature_keys.index(name)
        self._scalar = Scalar(randomness)
        self._has_run = False

    def run(self) -> Steps[Pads]:
        """Send ours, check the others', and make the seeds.

        Raises:
            VerificationFailed: a key is not signed by whom the manifest names, for this very manifest.
            InvalidPoint: a key is of low order, or not canonical.
        """
        if self._has_run:
            raise RoleAlreadyUsed("a key is good for one session")
        self._has_run = True
        manifest, at = self._manifest, self._at
        own = multiply(self._scalar, _BASE)
        yield Send(SumKey(own, self._sign(signed_text(manifest, at, own))))
        answer = received((yield Receive(SumKeys)), SumKeys)
        if len(answer.keys) != len(manifest.feature_keys) or answer.keys[at] != own:
            raise VerificationFailed("the host does not relay the keys of just these collaborators")
        others = [number for number in range(len(answer.keys)) if number != at]
        for number in others:
            self._check(number, answer.keys[number], answer.signatures[number])
        return Pads([self._seed(own, number, answer.keys[number]) for number in others])

    def _check(self, number: int, key: bytes, signature: bytes) -> None:
        who = self._manifest.feature_keys[number]
        try:
            certificate = self._certificates[self._manifest.fingerprints[number]]
            certificate.verify(signed_text(self._manifest, number, key), signature)
        except VerificationFailed as error:
            raise VerificationFailed(
                f"the key that the host relays for {who} is not signed by {who}, for this session: it was swapped, or "
                f"the host has shown {who} another manifest. No feature was sent"
            ) from error

    def _seed(self, own: bytes, number: int, key: bytes) -> PairSeed:
        ours, theirs = (self._manifest.fingerprints[each] for each in (self._at, number))
        try:
            # The point is another party's choice: no multi-buffer kernels, which err on some (protocols/psi/curve.py).
            shared = multiply(self._scalar, key, may_use_kernels=False)
        except InvalidPoint as error:
            raise InvalidPoint(f"the key of {self._manifest.feature_keys[number]}: {error}") from None
        adds = ours < theirs
        pair = ours + theirs + own + key if adds else theirs + ours + key + own
        return PairSeed(hashlib.sha256(_SEED + self._manifest.digest() + pair + shared).digest(), adds)


def signed_text(manifest: Manifest, number: int, key: bytes) -> bytes:
    """What the collaborator of this number in the manifest signs of its key."""
    return _SIGNED + manifest.digest() + manifest.fingerprints[number] + key
