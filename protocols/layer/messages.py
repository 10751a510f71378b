"""Messages that layers of more than one scheme send.

    every scheme                                                    FeatureShape, StepSkipped
    secret-shared weights (protocols/layer/initial.py)              ProjectionKey, InitialFactor, InitialShare

`parts` are ciphertexts in the scheme's own checked format; `version` counts the updates of W, so that a ciphertext of
old weights cannot be taken for one of the new.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.message import Message

MAX_WIDTH = 1 << 16
MAX_ROWS = 1 << 20
MAX_PARTS = 1 << 16
MAX_KEY_BYTES = 1 << 24
MAX_VERSION = (1 << 63) - 1


@dataclass(frozen=True)
class FeatureShape(Message):
    """A collaborator's first training batch is [rows, width]; sent once, before that batch."""

    rows: int
    width: int

    def __post_init__(self) -> None:
        self.require_int("rows", 1, MAX_ROWS)
        self.require_int("width", 1, MAX_WIDTH)


@dataclass(frozen=True)
class StepSkipped(Message):
    """The host trained nothing on this batch: drop its features, change no weights."""


@dataclass(frozen=True)
class CiphertextMessage(Message):
    """Ciphertexts about one version of the weights."""

    version: int
    parts: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require_int("version", 0, MAX_VERSION)
        self.require(isinstance(self.parts, tuple), "parts must be a tuple")
        self.require(1 <= len(self.parts) <= MAX_PARTS, f"1 to {MAX_PARTS} ciphertexts, not {len(self.parts)}")
        self.require(all(isinstance(part, bytes) and part for part in self.parts), "ciphertexts are not empty")


@dataclass(frozen=True)
class ProjectionKey(Message):
    """A party's public key, once per session.

    **Leaks** nothing.
    """

    public_key: bytes

    def __post_init__(self) -> None:
        size = len(self.public_key) if isinstance(self.public_key, bytes) else 0
        self.require(0 < size <= MAX_KEY_BYTES, f"a public key has 1 to {MAX_KEY_BYTES} bytes")


@dataclass(frozen=True)
class InitialFactor(CiphertextMessage):
    """[B]_C, the collaborator's orthogonal factor of the initial W = A B, under its own key.

    **Leaks** nothing.
    """


@dataclass(frozen=True)
class InitialShare(CiphertextMessage):
    """[A B - U]_C: the collaborator's share V of the initial weights.

    **Leaks** nothing: U is uniform, so V is.
    """
