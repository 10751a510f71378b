"""The shapes of an encrypted layer's products, and arithmetic in its ring."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.fixed_point import BLOCK_BITS, FACTOR_BITS, FEATURE_BITS, GRADIENT_FEATURE_BITS
from protocols.core.sender import Sender
from protocols.he.interface import RING_MASK, Backend, MatrixShape, as_ring
from protocols.layer.parameters import LayerParameters

Ring = NDArray[np.uint64]
Integers = NDArray[np.int64]


TEST_ROWS = 16
"""Rows of the secret combination that tests a share after a step: each lets one wrong share in two pass."""

FIRST_TEST_ROWS = 40
"""Of the one that tests the first share of a task, which is done once."""

IMAGE_DEVIATIONS = 8
"""Such a row times features of norm n has a standard deviation of n / sqrt(2); with 8 n it is beyond all chance."""


_shape = lru_cache(maxsize=256)(MatrixShape)
"""The same object for the same numbers: a batch asks for the same shapes again and again."""


class LayerShapes:
    """The shapes of a layer's products. d: width in; o: width out; rows: of a batch.

    Args:
        width_in, width_out: of the layer. Raises `InvalidInput` if there is none, or it is too wide for the ring.
        parameters: the bounds.
    """

    def __init__(self, width_in: int, width_out: int | None, parameters: LayerParameters) -> None:
        if width_out is None:
            raise InvalidInput("an encrypted scheme needs the projection layer")
        parameters.check_gradient_width(width_out)
        self.d, self.o = width_in, width_out
        self._bits = parameters.feature_bits
        # Cauchy-Schwarz on a sample's norm, and half a step of rounding for each of its features.
        largest = math.ceil(parameters.feature_norm * 2**FEATURE_BITS)
        self._largest = largest
        self._row_sum = math.isqrt(self.d * largest**2) + self.d
        self._row_squares = _rounded_square(largest, self.d)
        self._gradient_row_squares = _rounded_square(
            math.ceil(parameters.feature_norm * 2**GRADIENT_FEATURE_BITS), self.d
        )

    @property
    def initial(self) -> MatrixShape:
        """A [o, m] times [B]_C [m, d], m = min(o, d)."""
        return self._factor(self.o, self.d)

    def _factor(self, m: int, n: int) -> MatrixShape:
        """A factor of the first weights [m, min(o, d)], of a squared norm of min(o, d), times [min(o, d), n]."""
        inner = min(self.o, self.d)
        squares = _rounded_square(math.isqrt(inner << 2 * FACTOR_BITS) + 1, m * inner)
        return _shape(m, inner, n, FACTOR_BITS + 1, square_sum=squares)

    def forward(self, rows: int) -> MatrixShape:
        """a [rows, d] times [U^T]_H [d, o]."""
        return _shape(rows, self.d, self.o, self._bits, self._row_sum, rows * self._row_squares)

    def feature_gradient(self, rows: int) -> MatrixShape:
        """dz [rows, o] times [V]_C [o, d]."""
        return _shape(rows, self.o, self.d, BLOCK_BITS, square_sum=rows * self.o << 2 * (BLOCK_BITS - 1))

    def weight_gradient(self, rows: int) -> MatrixShape:
        """a^T [d, rows] times [lr dz]_H [rows, o]."""
        bits = self._bits - FEATURE_BITS + GRADIENT_FEATURE_BITS
        return _shape(self.d, rows, self.o, bits, square_sum=rows * self._gradient_row_squares)

    def check(self, rows: int) -> MatrixShape:
        """a [rows, d] times [U^T r]_H [d, 1]."""
        return _shape(rows, self.d, 1, self._bits, self._row_sum, rows * self._row_squares)

    def tested_share(self, tester: Sender, rows: int) -> MatrixShape:
        """c [t, d] times [U^T]_H [d, o], or c [t, o] times [V]_C [o, d]; c of -1, 0 and 1. t, rows: `rows_of_test`."""
        t = rows_of_test(rows)
        if tester is Sender.COLLABORATOR:
            return _shape(t, self.d, self.o, self._bits, self._row_sum, t * self.d)
        return _shape(t, self.o, self.d, BLOCK_BITS, square_sum=t * self.o)

    def share_test(self, tester: Sender, rows: int, batch: int) -> tuple[MatrixShape, int]:
        """The shape of a product that tests a share, and how many a test takes; `batch`: rows of the first one."""
        del batch  # one product has all rows of c
        return self.tested_share(tester, rows), 1

    def test_answer(self, tester: Sender, rows: int) -> MatrixShape:
        """What a test of a share asks of its holder; t, rows: `rows_of_test`.

        A [o, m] or B^T [d, m] times [m, t] for the first share; a^T [d, rows] times [rows, t] for one that has moved.

        Raises:
            InvalidInput: the collaborator does not test shares that have moved by such a product.
        """
        t = rows_of_test(rows)
        if tester is Sender.COLLABORATOR:
            if rows:
                raise InvalidInput(f"a test of the share after a step of {rows} rows")
            return self._factor(self.o, t)
        if not rows:
            return self._factor(self.d, t)
        step = self.weight_gradient(rows)
        return _shape(step.m, step.k, t, step.factor_bits, square_sum=step.square_sum)

    def step_test(self, rows: int) -> MatrixShape:
        """x a^T [TEST_ROWS, rows] times [lr dz]_H [rows, o]."""
        norm = math.isqrt(self._gradient_row_squares) + 1
        # The step was encrypted for `weight_gradient`: as large a sum over a row, so that its slots are the same.
        row_sum = rows * self.weight_gradient(rows).largest
        # On average half of the norms' squares: six times as much is beyond all chance, over 16 rows.
        squares = 3 * TEST_ROWS * rows * norm**2
        return _shape(TEST_ROWS, rows, self.o, (IMAGE_DEVIATIONS * norm).bit_length(), row_sum, squares)

    def form_test(self, tester: Sender) -> tuple[int, int, int]:
        """Width k of a factor that tests the form of a ciphertext of [k, n], n, and b: its entries are -2^b to 2^b - 1.

        The collaborator's is multiplied in the shape `forward`, the host's in `feature_gradient`.
        """
        if tester is Sender.HOST:
            return self.o, self.d, BLOCK_BITS - 1
        return self.d, self.o, (math.isqrt(self._largest**2 // self.d)).bit_length() - 1

    def check_budget(self, backend: Backend, rows: int) -> None:
        """Raise `InvalidInput` unless every product of such a batch leaves noise budget to flood and decrypt."""
        for shape in (
            self.initial,
            self.forward(rows),
            self.feature_gradient(rows),
            self.weight_gradient(rows),
            self.check(rows),
            self.step_test(rows),
            *(self.tested_share(tester, each) for tester in Sender for each in (0, rows)),
            self.test_answer(Sender.COLLABORATOR, 0),
            self.test_answer(Sender.HOST, 0),
            self.test_answer(Sender.HOST, rows),
        ):
            backend.check(shape)


def rows_of_test(rows: int) -> int:
    """Rows of the combination that tests a share behind a step of so many rows; 0: the first share."""
    return TEST_ROWS if rows else FIRST_TEST_ROWS


def _rounded_square(norm: int, entries: int) -> int:
    """Bound on the squared norm of so many entries of at most this norm, each rounded by half a step."""
    return (norm + math.isqrt(entries) + 1) ** 2


def add(left: Ring, right: Ring) -> Ring:
    """Sum in the ring."""
    return (left + right) & RING_MASK


def subtract(left: Ring, right: Ring) -> Ring:
    """Difference in the ring."""
    return (left - right) & RING_MASK


def negative(ring: Ring) -> Ring:
    """Its negative in the ring."""
    return subtract(np.zeros_like(ring), ring)


def noise_in_ring(noise: NDArray[np.float64], sigma: float) -> Ring:
    """Standard normal noise, scaled to steps of the ring's fixed point and rounded."""
    return as_ring(np.rint(noise * sigma).astype(np.int64))
