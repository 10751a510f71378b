"""The key owner's half of the kernel: keys, fresh encryptions, decryption."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.mapper import Mapper
from protocols.core.message import check_array
from protocols.he.layout import Layout
from protocols.he.native.core import DEGREE, Core, pieces
from protocols.he.native.objects import KernelSecret, KernelZero, Small, Words, readable
from protocols.he.residues import reduce_once
from protocols.wire.varint import Buffer


class OwnerHalf(Core):
    """Of `kernel.Kernel`."""

    def secret(self, ternary: Small) -> KernelSecret:
        """A key of N coefficients -1, 0, 1."""
        made = self._ffi.new("kernel_secret **")
        self._check(self._lib.kernel_secret_new(self._context, self._small("a key", ternary), made), "a key")
        return KernelSecret(self, self._ffi.gc(made[0], self._lib.kernel_secret_free))

    def zero(self, secret: KernelSecret, seed: bytes, error: Small) -> KernelZero:
        """c0 = -(a s + e) for a = `uniform(seed)`."""
        out = self._pool.take(len(self.primes) * DEGREE)
        errors, handle = self._small("an error", error), self._handle(secret)
        status = self._drawing(
            seed,
            lambda drawn, size: self._lib.kernel_zero(self._context, handle, drawn, size, errors, out.pointer),
        )
        self._check(status, "an encryption of zero")
        return KernelZero(self, out)

    def body(self, zero: KernelZero, message: Words | None = None, head: bytes = b"") -> bytes:
        """Packed c0 of an encryption: of zero, or of a message of ring elements [up to N]. Uses the zero up.

        `head` stands before it: copied with it, once.
        """
        if zero.kernel is not self:
            raise InvalidInput("the encryption of zero was not made by this kernel")
        if message is not None:
            check_array("a message", message, np.uint64, 1, None)
            if len(message) > DEGREE:
                raise InvalidInput(f"a message has up to {DEGREE} coefficients, not {len(message)}")
        c0 = zero.take()
        if message is not None:
            words = self._words(readable(message))
            status = self._lib.kernel_add_message(self._context, words, len(message), c0.pointer)
            self._check(status, "a message")
        packed = self._packed(c0.pointer, head)
        self._pool.give(c0)
        return packed

    def switching_body(self, zero: KernelZero, row: int, message: Words) -> bytes:
        """Packed c0 of an encryption of zero with a message [N] on one row only, below its prime. Uses the zero up."""
        if zero.kernel is not self:
            raise InvalidInput("the encryption of zero was not made by this kernel")
        check_array("a message", message, np.uint64, 1, (DEGREE,))
        c0 = zero.take()
        own = c0.words[row * DEGREE : (row + 1) * DEGREE]
        own[:] = reduce_once(own + message, self.primes[row])
        packed = self._packed(c0.pointer)
        self._pool.give(c0)
        return packed

    def decrypt(self, secret: KernelSecret, layout: Layout, bodies: Sequence[Buffer], mapper: Mapper = map) -> Words:
        """The results [m, n] of all replies. Refuses another length, set bits beyond the last value, a c1 of zero.

        Args:
            mapper: runs replies that follow each other at once.
        """
        if len(bodies) != layout.reply_parts:
            raise InvalidCiphertext(f"the peer sent {len(bodies)} replies, not {layout.reply_parts}")
        out = np.empty((layout.shape.m, layout.shape.n), np.uint64)
        numbers, pointer, handle = self._layout(layout), self._new_words(out), self._handle(secret)

        def read(piece: range) -> None:  # replies have windows of their own
            workspace = self._pool.take(self._workspace_words)
            for index in piece:
                body = bodies[index]
                status = self._lib.kernel_decrypt(
                    self._context, handle, numbers, index, self._bytes(body), len(body), pointer, workspace.pointer,
                    workspace.size,
                )  # fmt: skip
                self._check(status, f"part {index} of the peer's reply")
            self._pool.give(workspace)

        deque(mapper(read, pieces(len(bodies))), maxlen=0)
        return out

    def _handle(self, secret: KernelSecret) -> Any:
        if secret.kernel is not self:
            raise InvalidInput("the key was not made by this kernel")
        return secret.handle
