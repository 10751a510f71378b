"""Backends whose keys are made once for all tests: a pair of keys, one for each party, has a number."""

from __future__ import annotations

from itertools import cycle

from protocols.he.bfv import BfvBackend, BfvSecret
from protocols.he.paillier import PaillierBackend, PaillierSecretSide
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, BfvParameters
from tests.protocols.he import bfv_helpers, paillier_helpers


class KeptBfv(BfvBackend):
    """BFV: the first that asks gets one of the pair's keys, the next the other, and so on."""

    def __init__(self, parameters: BfvParameters = TRAINING, pair: int = 0, engine: str = bfv_helpers.ENGINE) -> None:
        vars(self).update(vars(bfv_helpers.backend(parameters, engine)))
        self._name, self._numbers = engine, cycle((2 * pair, 2 * pair + 1))

    def generate(self, randomness_label: str = "") -> BfvSecret:
        return bfv_helpers.secret(self.parameters, next(self._numbers), self._name)


class KeptPaillier(PaillierBackend):
    """Paillier, 2048 bits, likewise."""

    def __init__(self, pair: int = 0) -> None:
        super().__init__(PAILLIER_2048)
        self._numbers = cycle((2 * pair, 2 * pair + 1))

    def generate(self, randomness_label: str = "") -> PaillierSecretSide:
        return paillier_helpers.secret(number=next(self._numbers))
