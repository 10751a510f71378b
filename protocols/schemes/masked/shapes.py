"""The shapes of a masked layer's products: operands of shares are laid out as triples' masks are, which they come with.

A share that is encrypted to be tested has the layout of the mask that hides it in an opening, so that one product's
shape fits both (protocols/schemes/masked/share_tests.py).
"""

from __future__ import annotations

from protocols.core.fixed_point import STEP_BITS
from protocols.core.sender import Sender
from protocols.he.interface import RING_BITS, Backend, MatrixShape
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import LayerShapes, rows_of_test
from protocols.schemes.masked.triples import mask_product


class MaskedShapes(LayerShapes):
    """Of one layer. Arguments and errors as the base."""

    def __init__(self, width_in: int, width_out: int | None, parameters: LayerParameters) -> None:
        super().__init__(width_in, width_out, parameters)
        self._step_bits = int(parameters.step_limit * 2**STEP_BITS).bit_length() + 1

    def forward(self, rows: int) -> MatrixShape:
        """A [rows, d] times [M^T]_H, or [U^T]_H, [d, o]."""
        return mask_product(rows, self.d, self.o)

    def feature_gradient(self, rows: int) -> MatrixShape:
        """D [rows, o] times [N]_C, or [V]_C, [o, d]."""
        return mask_product(rows, self.o, self.d)

    def of_owner(self, owner: Sender, rows: int) -> MatrixShape:
        """Of a product by what hides, or is, this party's share; `rows`: of a whole triple."""
        return self.forward(rows) if owner is Sender.HOST else self.feature_gradient(rows)

    def test_answer(self, tester: Sender, rows: int) -> MatrixShape:
        """As the base; (lr dz)^T [o, rows] times [rows, t] for a share of the host that has moved."""
        if tester is Sender.HOST or not rows:
            return super().test_answer(tester, rows)
        squares = self.o * rows << 2 * self._step_bits
        return MatrixShape(self.o, rows, rows_of_test(rows), self._step_bits, square_sum=squares)

    def share_test(self, tester: Sender, rows: int, batch: int) -> tuple[MatrixShape, int]:
        """As the base: in the very shape of the products that the share is used in, as many as take all rows of c."""
        used = self.of_owner(tester.other, batch)
        shape = MatrixShape(used.m, used.k, used.n, used.factor_bits, square_sum=used.m * used.k)
        return shape, -(-rows_of_test(rows) // batch)

    def form_test(self, tester: Sender) -> tuple[int, int, int]:
        """As the base: factors fill the ring."""
        shape = self.of_owner(tester.other, 1)
        return shape.k, shape.n, RING_BITS - 1

    def check_test(self, backend: Backend, tester: Sender, rows: int) -> None:
        """Raise `InvalidInput` unless all of a party's tests with such batches leave noise budget."""
        backend.check(self.of_owner(tester.other, rows))
        for each in (0, rows):
            backend.check(self.test_answer(tester, each))
