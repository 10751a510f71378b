"""Where one side's secrets come from, and how it commits to them before it uses them.

    both sides, at set-up and at the start of every round    SecretsCommitment    (nothing else is sent before)

    seed                 32 bytes of the operating system, for this round
    secrets              ChaCha20 streams, one for each label: SHA-256(tag || seed || label) is a stream's own seed
    SecretsCommitment    SHA-256 over session, side, layer, round and seed; SHA-256 over a salt, and the share and the
                         key of the smoothing noise that are in force

So afterwards a side cannot say that it used other masks, noise or rounding, or held another share, than it did: it can
open a round to a judge (protocols/judge/), and only in one way. What comes from where:

    share            U                                   set-up, host
    host, ...        the factors A and B                 set-up
    mask n           R of the step from version n        collaborator
    rounding n       the rounding of lr dz, likewise     host
    ..., noise       the key of e or e'                  of the versions behind the first step of the round

Keys of the encryption and the randomness of ciphertexts come from elsewhere: a judge works on what decrypts.

**Leaks** nothing: a seed has 256 bits, and the salt is its hash. In a repeatable run the weights, noise and rounding
come from the run's number instead, as they did before, and a judge can say nothing about them.
"""

from __future__ import annotations

import hashlib

import numpy as np

from protocols.core.message import Array
from protocols.core.randomness import SEED_BYTES, OsRandomness, Randomness, expand
from protocols.core.steps import Receive, Send, Steps, received
from protocols.layer.interface import LayerSpec, layer_randomness
from protocols.layer.messages import SecretsCommitment

_TAG = b"secure-hfl secrets v1: "


class LayerSecrets:
    """One side's.

    Args:
        spec: the layer.
        role: "host" or "collaborator".
        seed: one that was opened; default: a fresh one.
        number: the round that the seed is of; 0 for the set-up.
    """

    def __init__(self, spec: LayerSpec, role: str, seed: bytes | None = None, number: int = 0) -> None:
        self._spec, self._role = spec, role
        self._seed = OsRandomness().seed() if seed is None else seed
        self._round = number
        self.is_owed = True

    def __repr__(self) -> str:
        return f"<LayerSecrets of {self._spec.feature_key} at {self._role}, round {self._round}>"

    def begin_round(self, number: int) -> None:
        """A fresh seed, which is to be committed to before anything is made from it."""
        self._seed, self._round, self.is_owed = OsRandomness().seed(), number, True

    def secret(self, label: str) -> Randomness:
        """The stream of a label: the same whenever it is asked for, so a label is for one use."""
        return expand(_digest(b"stream", self._seed, label.encode()))

    def choice(self, label: str) -> Randomness:
        """As `secret`; in a repeatable run, from its number."""
        return self.secret(label) if self._spec.seed is None else layer_randomness(self._spec, label)

    @property
    def salt(self) -> bytes:
        """What hides the state in a commitment. Says nothing of the seed."""
        return salt_of(self._seed)

    def commitment(self, state: bytes) -> SecretsCommitment:
        """To the seed and to this state (`state_bytes`)."""
        return SecretsCommitment(self.seed_digest(), state_digest(self.salt, state))

    def seed_digest(self) -> bytes:
        """What is said of the seed."""
        where = f"{self._role}|{self._round}|{self._spec.feature_key}".encode()
        return _digest(b"seed", self._spec.session, self._seed, where)

    def exchange(self, state: bytes) -> Steps[None]:
        """Commit, and hear the peer's commitment."""
        self.is_owed = False
        witness = self._spec.witness
        if witness.is_keeping:
            seed, session = (np.frombuffer(each, np.uint8) for each in (self._seed, self._spec.session))
            witness.note("secrets", seed=seed, session=session, round=np.array([self._round], np.int64))
        yield Send(self.commitment(state))
        received((yield Receive(SecretsCommitment)), SecretsCommitment)


def salt_of(seed: bytes) -> bytes:
    """`LayerSecrets.salt` of a seed."""
    return _digest(b"salt", seed)


def state_bytes(version: int, noise_key: bytes, share: Array | None) -> bytes:
    """A side's state as a commitment takes it. `share`: [o, d] uint64; None before there is one."""
    held = b"" if share is None else np.ascontiguousarray(share, dtype="<u8").tobytes()
    return version.to_bytes(8, "big") + noise_key + held


def state_digest(salt: bytes, state: bytes) -> bytes:
    """What is said of a state."""
    return _digest(b"state", salt, state)


def _digest(what: bytes, key: bytes, *rest: bytes) -> bytes:
    assert len(key) == SEED_BYTES  # noqa: S101 - so that no two inputs are spelled alike
    return hashlib.sha256(_TAG + what + b"\n" + key + b"".join(rest)).digest()
