"""Randomness of ciphertexts, made before it is needed: how much of it is kept ready."""

from __future__ import annotations

from collections.abc import Callable

from protocols.he.interface import MatrixShape

STOCK = 2
"""Products' worth of precomputed randomness that is kept ready for each kind of product."""


class Precomputed:
    """Keeps `STOCK` units of one kind of precomputed randomness ready, and little more.

    `use` belongs to the thread that consumes, `top_up` to the one that prepares. Kinds may share a scheme's stock, and
    a batch of other rows takes other than a unit, so what is left is what the scheme says, not what was counted; the
    count only says when to ask.
    """

    def __init__(self, make: Callable[[MatrixShape], int], shape: MatrixShape) -> None:
        self._make, self._shape = make, shape
        self._enough_until = self._used = 0

    def use(self) -> None:
        """One unit is about to be consumed; if none was ready it is made on the spot by who needs it."""
        self._used += 1

    def top_up(self) -> bool:
        """Make one unit, unless enough are ready; whether to come back for more."""
        used = self._used
        if self._enough_until - used >= STOCK:
            return False
        ready = self._make(self._shape)
        self._enough_until = used + ready
        return 0 < ready < STOCK
