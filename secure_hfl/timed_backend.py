"""An encryption scheme that says on the work clock what it does: encrypt, product (with reading its operand), decrypt.

What a background thread makes ahead (`prepare`) is not the rounds' time, and keys are made before them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.he.interface import Backend, CiphertextBundle, EncryptedOperand, MatrixShape, PublicSide, SecretSide
from secure_hfl.work_clock import span


class TimedSecret(SecretSide):
    """A secret side whose `encrypt` and `decrypt` are timed."""

    def __init__(self, secret: SecretSide) -> None:
        self._secret = secret

    def public_key(self) -> bytes:
        return self._secret.public_key()

    def exported(self) -> bytes:
        return self._secret.exported()

    def encrypt(self, matrix: NDArray[np.uint64], shape: MatrixShape) -> CiphertextBundle:
        with span("encrypt"):
            return self._secret.encrypt(matrix, shape)

    def decrypt(self, reply: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        with span("decrypt"):
            return self._secret.decrypt(reply, shape)

    def prepare(self, shape: MatrixShape) -> int:
        return self._secret.prepare(shape)


class TimedPublic(PublicSide):
    """A public side whose products are timed."""

    def __init__(self, public: PublicSide) -> None:
        self._public = public

    def load_operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> EncryptedOperand:
        with span("product"):
            return self._public.load_operand(bundle, shape)

    def multiply_add(
        self, factor: NDArray[np.int64], operand: EncryptedOperand, addend: NDArray[np.uint64], shape: MatrixShape
    ) -> CiphertextBundle:
        with span("product"):
            return self._public.multiply_add(factor, operand, addend, shape)

    def distance(self, operand: EncryptedOperand, shape: MatrixShape) -> Distance:
        return self._public.distance(operand, shape)

    def prepare(self, shape: MatrixShape) -> int:
        return self._public.prepare(shape)


class TimedBackend(Backend):
    """A backend whose keys are timed."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.releases_lock, self._backend = backend.name, backend.releases_lock, backend

    def generate(self, randomness_label: str = "") -> TimedSecret:
        return TimedSecret(self._backend.generate(randomness_label))

    def load_public(self, public_key: bytes) -> TimedPublic:
        return TimedPublic(self._backend.load_public(public_key))

    def distance(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> Distance:
        return self._backend.distance(shape, loaded)

    def operand_bytes(self, shape: MatrixShape) -> int:
        return self._backend.operand_bytes(shape)

    def check(self, shape: MatrixShape) -> None:
        self._backend.check(shape)
