"""A Paillier key that its owner has opened to a judge: p and q, which n has only in one way.

Every unit modulo n^2 is a ciphertext, so there is no noise to look at. What must hold is that slots are what an honest
party puts there: the elements of an operand are in the ring, or products would run over into other slots.
"""

from __future__ import annotations

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.randomness import OsRandomness
from protocols.he.interface import CiphertextBundle, MatrixShape, OpenedKey
from protocols.he.paillier_math import OPERAND, REPLY, Guarded, PrivateKey, PublicKey, pack, unpack, unpack_reply
from protocols.he.paillier_parameters import PaillierParameters


class PaillierOpenedKey(Guarded, OpenedKey):
    """Arguments and errors as `Backend.open_key`; `secret` is p and q, big-endian, each half as long as n."""

    def __init__(self, parameters: PaillierParameters, public_key: bytes, secret: bytes) -> None:
        self._public = PublicKey(parameters, public_key)
        half = parameters.key_bytes // 2
        if len(secret) != 2 * half:
            raise InvalidCiphertext(f"an opened key has {2 * half} bytes")
        p, q = (mpz.from_bytes(each, "big") for each in (secret[:half], secret[half:]))
        if p * q != self._public.n or not (gmpy2.is_prime(p) and gmpy2.is_prime(q)):
            raise InvalidCiphertext("the opened key does not belong to the public key that was sent")
        try:
            self._key = PrivateKey(parameters, p, q, OsRandomness())
        except InvalidInput as error:
            raise InvalidCiphertext(f"the public key is not one that this protocol makes: {error}") from error

    def operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        layout = self._public.parameters.layout(shape)
        plaintexts = self._key.decrypt(self._public.read(bundle, OPERAND, layout))
        out = np.empty((shape.k, shape.n), np.uint64)
        for index, columns in enumerate(layout.chunks):
            mine = plaintexts[index :: len(layout.chunks)]
            out[:, columns] = unpack(mine, columns.stop - columns.start, layout.slot_bytes)
            if pack(np.ascontiguousarray(out[:, columns]), layout.slot_bytes) != mine:
                raise InvalidCiphertext("an operand holds something that is not an element of the ring")
        return out

    def reply(self, bundle: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        layout = self._public.parameters.layout(shape)
        return unpack_reply(self._key.decrypt(self._public.read(bundle, REPLY, layout)), layout)
