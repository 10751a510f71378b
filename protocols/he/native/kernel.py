"""The bfv scheme's lattice arithmetic in C, as calls over numpy arrays. kernel.h has the definitions and the formats.

    owner                                                   evaluator
    secret(ternary)                                         load([public key])
    zero(secret, seed, error)                               load(operand's parts)
    body(zero, message)                                     mask(ternary, key, error)
    decrypt(secret, layout, replies)                        multiply_add(layout, factor, operand, ...)

Shapes, types and lengths are checked here, and again in C before it touches memory. Whatever a peer sent is refused by
`InvalidCiphertext`; a wrong argument of our own by `InvalidInput`. All methods may run at once in any number of
threads: the interpreter's lock is released while C runs.

**Shapes**: residues [primes, N] uint64; ternary and error [N] int8; factor [m, k] int64; addend, result [m, n] uint64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.message import check_array
from protocols.core.randomness import expand
from protocols.he.layout import Layout
from protocols.he.native.objects import KernelMask, KernelOperand, KernelSecret, KernelZero, Pool, Small, Words
from protocols.he.residues import reduce_once

_INTERFACE = 2

try:
    from protocols.he.native import _kernel
except ImportError:  # not built, or for another machine
    _library: Any = None
else:  # a module that was built from an older source counts as none
    _library = _kernel if getattr(_kernel.lib, "KERNEL_INTERFACE", None) == _INTERFACE else None

DEGREE = 8192

_OF_PEER = {
    2: "it has another length than its shape asks for",
    3: "a residue is not below its prime",
    4: "bits are set beyond the last value",
    5: "a polynomial is transparent: it is zero",
}
_SHORT_STREAM = 6


def instruction_sets() -> tuple[str, ...]:
    """What can run here, best first: of "ifma", "avx2", "neon", "scalar". None if the module was not built."""
    if _library is None:
        return ()
    names: str = _library.ffi.string(_library.lib.kernel_instruction_sets()).decode()
    return tuple(names.split(","))


@dataclass(frozen=True, repr=False)
class _Reply:
    """What one reply is made from: its number, its sums, flooding for all their results, and the whole addend."""

    layout: Layout
    index: int
    sums: Sequence[Words]
    flooding: bytes
    addend: Words


class Kernel:
    """The arithmetic for some primes and one way to send replies.

    Args:
        primes: distinct, 1 mod 2N, between 2^46 and 2^50; any order, which is that of rows of residues.
        scale_bits: W, replies are scaled to 2^W.
        drop_bits: D, how many low bits of c0 a reply leaves out.
        flood_bits: flooding is the centred sum of three integers below 2^flood_bits.
        instruction_set: one of `instruction_sets()`, or empty for the best.
        switching: a kernel with one more prime, for key switching; None: no sums are packed.

    Raises:
        InvalidInput: the module was not built, this machine lacks the set, or a number is out of range.
    """

    def __init__(
        self,
        primes: tuple[int, ...],
        *,
        scale_bits: int,
        drop_bits: int,
        flood_bits: int,
        instruction_set: str = "",
        switching: Kernel | None = None,
    ) -> None:
        if _library is None:
            raise InvalidInput("the native kernel is not built here")
        self._ffi, self._lib = _library.ffi, _library.lib
        self.primes = primes
        self.switching = switching
        self._scale_bits, self._kept_bits = scale_bits, scale_bits - drop_bits
        made = self._ffi.new("kernel_context **")
        numbers = (scale_bits, drop_bits, flood_bits)
        if not all(0 <= prime < 1 << 64 for prime in primes) or not all(0 <= number < 1 << 32 for number in numbers):
            raise InvalidInput("primes are words, and bits are counted from 0")
        status = self._lib.kernel_new(primes, len(primes), *numbers, instruction_set.encode(), made)
        if status:
            raise InvalidInput(f"no kernel for these parameters and {instruction_set or 'any'} instructions ({status})")
        self._context = self._ffi.gc(made[0], self._lib.kernel_free)
        self.instruction_set: str = self._ffi.string(self._lib.kernel_instruction_set(self._context)).decode()
        self.packed_bytes = int(self._lib.kernel_packed_bytes(self._context))
        self._workspace_words = int(self._lib.kernel_workspace_words(self._context))
        self._mask_words = int(self._lib.kernel_mask_words(self._context))
        self._stream_bytes = int(self._lib.kernel_stream_bytes(self._context))
        self._pool = Pool()

    def __reduce__(self) -> str | tuple[object, ...]:
        raise InvalidInput("a kernel stays in its process; make another")

    # ---- pointers and statuses

    def _words(self, array: Words) -> Any:
        return self._ffi.from_buffer("uint64_t[]", array)

    def _new_words(self, array: Words) -> Any:
        return self._ffi.from_buffer("uint64_t[]", array, require_writable=True)

    def _bytes(self, data: bytes) -> Any:
        return self._ffi.from_buffer("uint8_t[]", data)

    def _small(self, name: str, array: Small) -> Any:
        check_array(name, array, np.int8, 1, (DEGREE,))
        return self._ffi.from_buffer("int8_t[]", np.ascontiguousarray(array))

    def _residues(self, array: Words) -> Any:
        check_array("residues", array, np.uint64, 2, (len(self.primes), DEGREE))
        return self._new_words(array)

    def _layout(self, layout: Layout) -> Any:
        shape = layout.shape
        return self._ffi.new(
            "kernel_layout *", (shape.m, shape.k, shape.n, layout.k_tile, layout.n_tile, layout.rows, layout.packed)
        )

    @staticmethod
    def _check(status: int, what: str) -> None:
        if status in _OF_PEER:
            raise InvalidCiphertext(f"{what}: {_OF_PEER[status]}")
        if status:
            raise InvalidInput(f"{what}: the kernel refuses these arguments ({status})")

    def _drawing(self, seed: bytes, call: Any) -> int:
        """The status of call(stream, bytes), with as much of the seed's stream as it wants."""
        stream, size = expand(seed), self._stream_bytes
        while True:
            buffer = self._pool.take(-(-size // 8))
            drawn = buffer.view(np.uint8)[:size]
            stream.fill(drawn)
            status = int(call(self._ffi.from_buffer("uint8_t[]", drawn), size))
            self._pool.give(buffer)
            if status != _SHORT_STREAM:
                return status
            stream, size = expand(seed), size + self._stream_bytes // 8

    def _handle(self, secret: KernelSecret) -> Any:
        if secret.kernel is not self:
            raise InvalidInput("the key was not made by this kernel")
        return secret.handle

    # ---- from randomness

    def ternary(self, words: bytes) -> Small:
        """N coefficients uniform in {-1, 0, 1}, from N words: each modulo 3."""
        return self._from_words(words, self._lib.kernel_ternary)

    def error(self, words: bytes) -> Small:
        """One RLWE error from N words: the ones of bits 0 to 20 less those of bits 32 to 52."""
        return self._from_words(words, self._lib.kernel_error)

    def _from_words(self, words: bytes, convert: Any) -> Small:
        out = np.empty(DEGREE, np.int8)
        pointer = self._ffi.from_buffer("int8_t[]", out, require_writable=True)
        self._check(convert(self._bytes(words), len(words), pointer), "uniform words")
        return out

    def uniform(self, seed: bytes) -> Words:
        """A uniform polynomial in transform form: c1 of whatever has this seed."""
        out = np.empty((len(self.primes), DEGREE), np.uint64)
        pointer = self._new_words(out)
        status = self._drawing(seed, lambda drawn, size: self._lib.kernel_uniform(self._context, drawn, size, pointer))
        self._check(status, "a seed")
        return out

    def forward(self, residues: Words) -> Words:
        """Every row into transform form, in place."""
        return self._transformed(residues, self._lib.kernel_forward)

    def inverse(self, residues: Words) -> Words:
        """Every row out of transform form, in place."""
        return self._transformed(residues, self._lib.kernel_inverse)

    def _transformed(self, residues: Words, transform: Any) -> Words:
        pointer = self._residues(residues)
        if (residues >= np.array(self.primes, np.uint64)[:, None]).any():
            raise InvalidInput("a residue is not below its prime")
        for prime in range(len(self.primes)):
            self._check(transform(self._context, prime, pointer + prime * DEGREE), "a transform")
        return residues

    # ---- the key owner

    def secret(self, ternary: Small) -> KernelSecret:
        """A key of N coefficients -1, 0, 1."""
        made = self._ffi.new("kernel_secret **")
        self._check(self._lib.kernel_secret_new(self._context, self._small("a key", ternary), made), "a key")
        return KernelSecret(self, self._ffi.gc(made[0], self._lib.kernel_secret_free))

    def zero(self, secret: KernelSecret, seed: bytes, error: Small) -> KernelZero:
        """c0 = -(a s + e) for a = `uniform(seed)`."""
        out = self._pool.take(len(self.primes) * DEGREE)
        pointer, errors, handle = self._new_words(out), self._small("an error", error), self._handle(secret)
        status = self._drawing(
            seed,
            lambda drawn, size: self._lib.kernel_zero(self._context, handle, drawn, size, errors, pointer),
        )
        self._check(status, "an encryption of zero")
        return KernelZero(self, out)

    def body(self, zero: KernelZero, message: Words | None = None) -> bytes:
        """Packed c0 of an encryption: of zero, or of a message of ring elements [up to N]. Uses the zero up."""
        if zero.kernel is not self:
            raise InvalidInput("the encryption of zero was not made by this kernel")
        if message is not None:
            check_array("a message", message, np.uint64, 1, None)
            if len(message) > DEGREE:
                raise InvalidInput(f"a message has up to {DEGREE} coefficients, not {len(message)}")
        c0 = zero.take()
        if message is not None:
            words = self._words(np.ascontiguousarray(message))
            status = self._lib.kernel_add_message(self._context, words, len(message), self._new_words(c0))
            self._check(status, "a message")
        packed = self._packed(c0)
        self._pool.give(c0)
        return packed

    def switching_body(self, zero: KernelZero, row: int, message: Words) -> bytes:
        """Packed c0 of an encryption of zero with a message [N] on one row only, below its prime. Uses the zero up."""
        if zero.kernel is not self:
            raise InvalidInput("the encryption of zero was not made by this kernel")
        check_array("a message", message, np.uint64, 1, (DEGREE,))
        c0 = zero.take()
        own = c0[row * DEGREE : (row + 1) * DEGREE]
        own[:] = reduce_once(own + message, self.primes[row])
        packed = self._packed(c0)
        self._pool.give(c0)
        return packed

    def pack(self, residues: Words) -> bytes:
        """Residues, each prime at its own bit length: `packed_bytes` of them."""
        self._residues(residues)
        return self._packed(residues)

    def _packed(self, residues: Words) -> bytes:
        buffer = self._pool.take(-(-self.packed_bytes // 8))
        out = buffer.view(np.uint8)[: self.packed_bytes]
        pointer = self._ffi.from_buffer("uint8_t[]", out, require_writable=True)
        self._check(self._lib.kernel_pack(self._context, self._words(residues), pointer, len(out)), "residues")
        packed = out.tobytes()
        self._pool.give(buffer)
        return packed

    def reply_bytes(self, layout: Layout, index: int) -> int:
        """How long the body of a reply is."""
        return int(self._lib.kernel_reply_bytes(self._context, self._layout(layout), index))

    def unpack(self, packed: bytes) -> Words:
        """The inverse of `pack`. Refuses another length, and a residue that is not below its prime."""
        out = np.empty((len(self.primes), DEGREE), np.uint64)
        status = self._lib.kernel_unpack(self._context, self._bytes(packed), len(packed), self._new_words(out))
        self._check(status, "the peer's polynomial")
        return out

    def decrypt(self, secret: KernelSecret, layout: Layout, bodies: Sequence[bytes]) -> Words:
        """The results [m, n] of all replies. Refuses another length, set bits beyond the last value, a c1 of zero."""
        if len(bodies) != layout.reply_parts:
            raise InvalidCiphertext(f"the peer sent {len(bodies)} replies, not {layout.reply_parts}")
        out = np.empty((layout.shape.m, layout.shape.n), np.uint64)
        numbers, pointer, handle = self._layout(layout), self._new_words(out), self._handle(secret)
        workspace = self._pool.take(self._workspace_words)
        for index, body in enumerate(bodies):
            status = self._lib.kernel_decrypt(
                self._context, handle, numbers, index, self._bytes(body), len(body), pointer,
                self._new_words(workspace), workspace.size,
            )  # fmt: skip
            self._check(status, f"part {index} of the peer's reply")
        self._pool.give(workspace)
        return out

    # ---- the evaluator

    def load(self, parts: Sequence[tuple[bytes, bytes]], what: str = "operand") -> KernelOperand:
        """An operand, or a public key as an operand of one part, from its parts' seeds and packed c0."""
        words = self._pool.take(int(self._lib.kernel_operand_words(self._context, len(parts))))
        pointer, workspace = self._new_words(words), self._pool.take(self._workspace_words)
        for index, (seed, packed) in enumerate(parts):
            status = self._drawing(
                seed,
                lambda drawn, size, index=index, packed=packed: self._lib.kernel_load(
                    self._context, self._bytes(packed), len(packed), drawn, size, pointer, len(parts), index,
                    self._new_words(workspace), workspace.size,
                ),
            )  # fmt: skip
            self._check(status, f"part {index} of the peer's {what}")
        self._pool.give(workspace)
        return KernelOperand(self, self._pool, words, len(parts))

    def mask(self, ternary: Small, key: KernelOperand, error: Small) -> KernelMask:
        """u * key, and e2 for c1, for one reply."""
        if key.kernel is not self or key.parts != 1:
            raise InvalidInput("the key was not loaded by this kernel")
        check_array("an error", error, np.int8, 1, (DEGREE,))
        factor, out = self._small("a mask's factor", ternary), self._pool.take(self._mask_words)
        workspace = self._pool.take(self._workspace_words)
        status = self._lib.kernel_mask(
            self._context, factor, self._words(key.words), self._new_words(out), self._new_words(workspace),
            workspace.size,
        )  # fmt: skip
        self._check(status, "a mask")
        self._pool.give(workspace)
        if self.switching is not None:
            small = self._small("an error", error)
            self._check(self._lib.kernel_settle_mask(self._context, self._new_words(out), small), "a mask")
        return KernelMask(self, out, error)

    def multiply_add(
        self,
        layout: Layout,
        factor: NDArray[np.int64],
        operand: KernelOperand,
        addend: Words,
        masks: Sequence[KernelMask],
        flooding: Sequence[bytes],
        first_group: int = 0,
        end_group: int | None = None,
        keys: KernelOperand | None = None,
    ) -> list[bytes]:
        """The bodies of the replies of some row groups, all by default: X M + R under encryption.

        Args:
            layout: of the product; its tiles are those of the operand.
            masks: one for each reply, in order. They are used up, also by a call that is refused.
            flooding: uniform bytes for each sum, 48 for each of its results.
            first_group, end_group: so that threads can share the groups. With the first one, a reply begins.
            keys: the owner's key-switching keys, loaded by `switching`, where sums are packed.
        """
        end = layout.groups if end_group is None else end_group
        if operand.kernel is not self or operand.parts != layout.operand_parts:
            raise InvalidInput("the operand is not of this kernel and layout")
        first, count = first_group * layout.n_tiles, (end - first_group) * layout.n_tiles
        replies = -(-count // layout.packed)
        if not (len(flooding) == count and replies == len(masks)) or any(mask.kernel is not self for mask in masks):
            raise InvalidInput(f"{replies} replies take as many masks of this kernel, and flooding for each sum")
        self._check_packing(layout, range(first, first + count), keys)
        check_array("the factor", factor, np.int64, 2, (layout.shape.m, layout.shape.k))
        check_array("the addend", addend, np.uint64, 2, (layout.shape.m, layout.shape.n))
        taken = [mask.take() for mask in masks]
        sums = taken if layout.packed == 1 else [self._zeros() for _ in range(count)]
        self._add_products(layout, np.ascontiguousarray(factor), operand, sums, first_group, end)
        out, addend = [], np.ascontiguousarray(addend)
        for index, mask in enumerate(masks):
            own = slice(index * layout.packed, (index + 1) * layout.packed)
            reply = _Reply(layout, first // layout.packed + index, sums[own], b"".join(flooding[own]), addend)
            made = self._reply(reply, mask.error) if keys is None or layout.packed == 1 else None
            out.append(self._packed_reply(reply, taken[index], keys) if made is None else made)
        for words in sums if layout.packed == 1 else [*sums, *taken]:
            self._pool.give(words)
        return out

    def _check_packing(self, layout: Layout, sums: range, keys: KernelOperand | None) -> None:
        """That these are all sums of some replies, and that there are as many keys as C will read."""
        if (layout.packed > 1) != (self.switching is not None):
            raise InvalidInput("a kernel for packed sums takes packed layouts only, and another one takes none")
        if layout.packed == 1:
            return
        if keys is None or keys.kernel is not self.switching or keys.parts != (layout.packed - 1) * len(self.primes):
            raise InvalidInput("sums are packed with the key-switching keys of their owner, all of them")
        if sums.start % layout.packed or (sums.stop % layout.packed and sums.stop != layout.sums):
            raise InvalidInput("a piece of a product begins and ends with a whole reply")

    def _zeros(self) -> Words:
        words = self._pool.take(self._mask_words)
        words[:] = 0
        return words

    def _add_products(
        self, layout: Layout, factor: NDArray[np.int64], operand: KernelOperand, sums: list[Words], first: int, end: int
    ) -> None:
        """Adds the products of some groups to their masks."""
        numbers = self._layout(layout)
        needed = int(self._lib.kernel_products_workspace_words(self._context, numbers, first, end))
        workspace, pointers = self._pool.take(needed), [self._new_words(words) for words in sums]
        status = self._lib.kernel_products(
            self._context, numbers, first, end, self._ffi.from_buffer("int64_t[]", factor), self._words(operand.words),
            self._ffi.new("uint64_t *[]", pointers), self._new_words(workspace), workspace.size,
        )  # fmt: skip
        self._check(status, "a product")
        self._pool.give(workspace)

    def _reply(self, reply: _Reply, error: Small) -> bytes:
        """The body of one reply, from its sum."""
        return self._written(
            reply,
            self._workspace_words,
            lambda numbers, body, workspace: self._lib.kernel_reply(
                self._context, numbers, reply.index, self._new_words(reply.sums[0]), self._small("an error", error),
                *self._flooding(reply), self._words(reply.addend), *body, *workspace,
            ),
        )  # fmt: skip

    def _packed_reply(self, reply: _Reply, mask: Words, keys: Any) -> bytes:
        """The body of one reply, from its sums and its mask."""
        if self.switching is None:
            raise InvalidInput("this kernel packs no sums")
        switching = self.switching._context
        needed = int(self._lib.kernel_packed_workspace_words(self._context, self._layout(reply.layout)))
        pointers = [self._new_words(words) for words in reply.sums]
        return self._written(
            reply,
            needed,
            lambda numbers, body, workspace: self._lib.kernel_packed_reply(
                self._context, switching, self._words(keys.words), numbers, reply.index,
                self._ffi.new("uint64_t *[]", pointers), self._words(mask), *self._flooding(reply),
                self._words(reply.addend), *body, *workspace,
            ),
        )  # fmt: skip

    def _flooding(self, reply: _Reply) -> tuple[Any, int]:
        if len(reply.flooding) % 8:
            raise InvalidInput("flooding is made of words")
        return self._ffi.from_buffer("uint64_t[]", reply.flooding), len(reply.flooding) // 8

    def _written(self, reply: _Reply, workspace_words: int, call: Any) -> bytes:
        """What a call writes as a reply's body."""
        numbers, size = self._layout(reply.layout), self.reply_bytes(reply.layout, reply.index)
        workspace, buffer = self._pool.take(workspace_words), self._pool.take(-(-size // 8))
        body = buffer.view(np.uint8)[:size]
        pointer = self._ffi.from_buffer("uint8_t[]", body, require_writable=True)
        self._check(call(numbers, (pointer, size), (self._new_words(workspace), workspace.size)), "a reply")
        out = body.tobytes()
        self._pool.give(workspace)
        self._pool.give(buffer)
        return out
