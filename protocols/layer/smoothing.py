"""Smoothing noise: why an exact result is not safe to reveal, and what is added to it.

Every row of an exact z is an integer combination of the columns of W^T with small coefficients, so some sixty rows and
LLL give W, and with it every feature; likewise da and dz. Gaussian noise above the smoothing parameter of the lattice
that W spans makes what is revealed say no more than a real-valued z would. It is added by the party whose secret it
protects, inside the ciphertext or the share.

The noise of a row comes from a PRF over (weights version, the row), so that the same query gets the same answer and
asking again does not average it away:

    noise = Gaussian(PRF(key, version || scale || width || row))        PRF: `randomness.KeyedFunction`

One (key, version) must stand for one W, as two answers under one noise differ by exactly a (W - W')^T. After a rollback
to a checkpoint a version comes again, and maybe with another W: so the key in force there is kept for its version only,
and `VersionedNoise` takes a fresh one for all that follow.

**Reference** Micciancio, Regev 2007 (smoothing parameter); tests/attacks/test_lattice.py for the attack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.core.randomness import KeyedFunction, Randomness, box_muller


class SmoothingNoise:
    """A party's PRF-keyed Gaussian noise. The key never leaves the party."""

    def __init__(self, randomness: Randomness) -> None:
        self._key = randomness.bytes(32)

    @classmethod
    def with_key(cls, key: bytes) -> SmoothingNoise:
        """The noise that a checkpoint kept the key of."""
        noise = cls.__new__(cls)
        noise._key = key
        return noise

    @property
    def key(self) -> bytes:
        """For a checkpoint of the party itself. Secret."""
        return self._key

    def __repr__(self) -> str:
        return "SmoothingNoise(<secret>)"

    def draw(self, version: int, scale: int, rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
        """Standard normal noise for the results of these rows.

        Args:
            version: of the weights.
            scale: whatever else the query consists of (the exponent of a block).
            rows: [B, k] the quantised small factor.
            width: columns of the result.

        **Shapes** [B, width] float64.
        """
        head = version.to_bytes(8, "big") + scale.to_bytes(4, "big", signed=True) + width.to_bytes(4, "big")
        half = (width + 1) // 2
        words = KeyedFunction(self._key, head).of_rows(rows, 16 * half).view("<u8").reshape(len(rows), 2, half)
        return box_muller(words).reshape(len(rows), 2 * half)[:, :width]


class VersionedNoise:
    """The smoothing noise of the version in force, and after a resume that of the versions to come.

    Args:
        noise: for the version in force. At this version the same query gets the same answer, or resuming again and
            again would average the noise away.
        later: for the versions after the first step; None if `noise` goes on, as it does without a resume. What follows
            a resume may not be what followed before: a version may have been another W, and one key for both would give
            their difference away, z - z' = a (W - W')^T without any noise.
    """

    def __init__(self, noise: SmoothingNoise, later: SmoothingNoise | None = None) -> None:
        self._noise, self._later = noise, later

    @property
    def key(self) -> bytes:
        """Of the version in force, for a checkpoint of the party itself. Secret."""
        return self._noise.key

    def renew(self, later: SmoothingNoise) -> None:
        """Of the versions behind the next step there is other noise than was planned."""
        self._later = later

    def next_version(self) -> None:
        """The weights have moved."""
        if self._later is not None:
            self._noise, self._later = self._later, None

    def draw(self, version: int, scale: int, rows: NDArray[np.int64], width: int) -> NDArray[np.float64]:
        """As `SmoothingNoise.draw`, with the key in force."""
        return self._noise.draw(version, scale, rows, width)

    def __repr__(self) -> str:
        return "VersionedNoise(<secret>)"
