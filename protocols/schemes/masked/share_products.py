"""The products by which a party tests the peer's openings, and answers such tests (share_tests.py).

An opening, mu = U - M or nu = V - N, is public to both. So what its receiver computes with the mask, of which it has
the ciphertext from the triple's making, it computes with the share: c (M + mu) + m is c M + (c mu + m).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols.core.errors import MalformedMessage
from protocols.core.randomness import OsRandomness, expand
from protocols.core.sender import Sender
from protocols.he.interface import RING_BITS, CiphertextBundle, EncryptedOperand
from protocols.layer.initial import Keys
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Integers, Ring, add, rows_of_test
from protocols.schemes.masked.shapes import MaskedShapes
from protocols.schemes.shares.products import Parts, ShareProducts


@dataclass(frozen=True, repr=False)
class PeerShare:
    """What the peer has said its share is: an encrypted mask and an opening, or the share itself, encrypted.

    Attributes:
        parts: [M^T]_H, [N]_C, [U^T]_H or [V]_C.
        opening: mu^T or nu, as the operand is; None if it is the share itself.
    """

    parts: Parts
    opening: Ring | None = None


@dataclass(frozen=True, repr=False)
class _Read(EncryptedOperand):
    """The same, read."""

    operand: EncryptedOperand
    opening: Ring | None


class MaskedShareProducts(ShareProducts):
    """Of one side.

    Args:
        sender: which.
        keys: of this session.
        shapes: of the layer's products.
        rows: of a whole triple.
    """

    def __init__(self, sender: Sender, keys: Keys, shapes: MaskedShapes, rows: int) -> None:
        super().__init__(keys, shapes, rows)
        self._sender, self._layer = sender, shapes

    def encrypt_share(self, values: Ring) -> Parts:
        """[U^T]_H or [V]_C of our share [o, d]."""
        shape = self._layer.of_owner(self._sender, self._rows)
        oriented = values.T if self._sender is Sender.HOST else values
        return self._secret.encrypt(np.ascontiguousarray(oriented), shape).parts

    def read(self, share: PeerShare) -> EncryptedOperand:
        """For tests of it. Raises `InvalidCiphertext`."""
        shape = self._layer.of_owner(self._sender.other, self._rows)
        return _Read(self._public.load_operand(CiphertextBundle(share.parts), shape), share.opening)

    def combine_share(self, combination: Integers, peer_share: EncryptedOperand, mask: Ring, rows: int) -> Parts:
        """See the base; of a share that `read` gave.

        c is multiplied in the very shape in which A, or D, was: in pieces, filled up with zeros under masks of their
        own. So ciphertexts and keys hold the same in both, whatever it is (form_test.py).
        """
        assert isinstance(peer_share, _Read)  # noqa: S101 - nothing else is read here
        addend = mask if peer_share.opening is None else add(mask, matmul(combination, peer_share.opening))
        shape, count = self._layer.share_test(self._sender, rows, self._rows)
        factors = np.zeros((count * shape.m, shape.k), np.int64)
        addends = expand(OsRandomness().seed()).ring((count * shape.m, shape.n), RING_BITS)
        factors[: len(combination)], addends[: len(combination)] = combination, addend
        parts: Parts = ()
        for first in range(0, len(factors), shape.m):
            piece = slice(first, first + shape.m)
            parts += self._public.multiply_add(factors[piece], peer_share.operand, addends[piece], shape).parts
        return parts

    def decrypt_combined(self, parts: Parts, rows: int) -> Ring:
        """See the base."""
        shape, count = self._layer.share_test(self._sender.other, rows, self._rows)
        size = max(1, -(-len(parts) // count))
        pieces = [CiphertextBundle(parts[first : first + size]) for first in range(0, len(parts), size)]
        if len(pieces) != count:
            raise MalformedMessage(f"a test of a share is {count} products, not {len(pieces)}")
        return np.concatenate([self._secret.decrypt(piece, shape) for piece in pieces])[: rows_of_test(rows)]

    def test_form(self, factor: Integers, peer_share: EncryptedOperand, mask: Ring) -> Parts:
        """[X P + mask]_O of X [rows, k] and the part of the peer's share that is encrypted."""
        assert isinstance(peer_share, _Read)  # noqa: S101 - as above
        shape = self._layer.of_owner(self._sender.other, self._rows)
        return self._public.multiply_add(factor, peer_share.operand, mask, shape).parts

    def decrypt_form(self, parts: Parts, rows: int) -> Ring:
        """What such a product says, [rows, n]."""
        return self._secret.decrypt(CiphertextBundle(parts), self._layer.of_owner(self._sender, rows))
