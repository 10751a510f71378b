"""The products by which a party tests the share that the other holds, and answers such a test.

    tester of a share                                   its holder
    combine_share     [c P + mask]_O           ---->    decrypt_combined
    encrypt_image     [(c G)^T]_T              ---->    answer
    decrypt_answer                             <----    [(c G F + mask)^T]_T

`parts` are ciphertexts as messages carry them. Bad ones of the peer raise `InvalidCiphertext`.
"""

from __future__ import annotations

import numpy as np

from protocols.core.sender import Sender
from protocols.he.interface import CiphertextBundle, EncryptedOperand
from protocols.layer.initial import Keys
from protocols.layer.shapes import Integers, LayerShapes, Ring

Parts = tuple[bytes, ...]

BATCHES_A_MARK = 16
"""A declared run has room for a checkpoint every so many batches; more come out of what is kept for interruptions."""


class ShareProducts:
    """What both sides do alike, to test a share and to answer such a test.

    Args:
        keys: of this session.
        shapes: of the layer's products.
        rows: of a batch, for which randomness is prepared.
    """

    _sender: Sender

    def __init__(self, keys: Keys, shapes: LayerShapes, rows: int) -> None:
        self._secret, self._public = keys
        self._shapes, self._rows = shapes, rows

    def combine_share(self, combination: Integers, peer_share: EncryptedOperand, mask: Ring, rows: int) -> Parts:
        """[c P + mask]_O of c [t, k] and the peer's share P, which is [U^T]_H or [V]_C; t, rows: `rows_of_test`."""
        shape = self._shapes.tested_share(self._sender, rows)
        return self._public.multiply_add(combination, peer_share, mask, shape).parts

    def decrypt_combined(self, parts: Parts, rows: int) -> Ring:
        """c P + mask, [t, n], of our own share."""
        return self._secret.decrypt(CiphertextBundle(parts), self._shapes.tested_share(self._sender.other, rows))

    def encrypt_image(self, image: Ring, rows: int) -> Parts:
        """[(c G)^T]_T of c G [t, q]."""
        shape = self._shapes.test_answer(self._sender, rows)
        return self._secret.encrypt(np.ascontiguousarray(image.T), shape).parts

    def answer(self, factor: Integers, image: Parts, mask: Ring, rows: int) -> Parts:
        """[(c G F + mask)^T]_T of F [q, n]; mask [t, n]."""
        shape = self._shapes.test_answer(self._sender.other, rows)
        operand = self._public.load_operand(CiphertextBundle(image), shape)
        transposed, addend = np.ascontiguousarray(factor.T), np.ascontiguousarray(mask.T)
        return self._public.multiply_add(transposed, operand, addend, shape).parts

    def decrypt_answer(self, parts: Parts, rows: int) -> Ring:
        """c G F + mask, [t, n]."""
        return self._secret.decrypt(CiphertextBundle(parts), self._shapes.test_answer(self._sender, rows)).T
