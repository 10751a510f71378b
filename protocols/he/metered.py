"""A peer's public key under which no more is sent than a run may show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import Distance, DistanceBudget
from protocols.he.interface import CiphertextBundle, EncryptedOperand, MatrixShape, PublicSide


class MeteredPublic(PublicSide):
    """Spends a budget for every product, before the product is made.

    Args:
        public: makes the products.
        budget: of the run. `multiply_add` raises `BudgetSpent` when it does not suffice.
    """

    def __init__(self, public: PublicSide, budget: DistanceBudget) -> None:
        self._public, self._budget = public, budget

    def load_operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> EncryptedOperand:
        return self._public.load_operand(bundle, shape)

    def distance(self, operand: EncryptedOperand, shape: MatrixShape) -> Distance:
        return self._public.distance(operand, shape)

    def multiply_add(
        self, factor: NDArray[np.int64], operand: EncryptedOperand, addend: NDArray[np.uint64], shape: MatrixShape
    ) -> CiphertextBundle:
        self._budget.spend(self._public.distance(operand, shape))
        return self._public.multiply_add(factor, operand, addend, shape)

    def prepare(self, shape: MatrixShape) -> int:
        return self._public.prepare(shape)
