"""What both halves of the kernel stand on: a context, checked pointers, statuses, small values and transforms."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.mapper import Mapper
from protocols.core.message import check_array
from protocols.core.randomness import expand
from protocols.he.layout import Layout
from protocols.he.native.library import library
from protocols.he.native.objects import Memory, Pool, Small, Words
from protocols.wire.varint import Buffer

DEGREE = 8192

OF_PEER = {
    2: "it has another length than its shape asks for",
    3: "a residue is not below its prime",
    4: "bits are set beyond the last value",
    5: "a polynomial is transparent: it is zero",
}
SHORT_STREAM = 6
LEFT = 9
WORD_BYTES = 8

_PIECE = 4


def pieces(count: int) -> list[range]:
    """Parts of a peer's message that are worth a thread: a few times 60 microseconds."""
    return [range(first, min(first + _PIECE, count)) for first in range(0, count, _PIECE)]


@dataclass(frozen=True, repr=False)
class Work:
    """A call into C that several threads can make together.

    Args:
        what: it makes, for errors.
        call: its status, given a `kernel_share *`.
        held: what C reaches by pointers to pointers. A thread that helps keeps it, should the first caller be
            interrupted and go.
    """

    what: str
    call: Callable[[Any], int]
    held: Sequence[Memory] = ()


class Core:
    """Arguments and errors as `kernel.Kernel`, which this is a part of."""

    def __init__(
        self,
        primes: tuple[int, ...],
        *,
        scale_bits: int,
        drop_bits: int,
        flood_bits: int,
        instruction_set: str = "",
        switching: Core | None = None,
        raised: bool = False,
    ) -> None:
        if library is None:
            raise InvalidInput("the native kernel is not built here")
        self._ffi, self._lib = library.ffi, library.lib
        self.primes = primes
        self.switching = switching
        self.raised = raised
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
        self._pool = Pool(self._ffi)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise InvalidInput("a kernel stays in its process; make another")

    # ---- pointers and statuses

    def _words(self, array: Words) -> Any:
        return self._ffi.from_buffer("uint64_t[]", array)

    def _new_words(self, array: Words) -> Any:
        return self._ffi.from_buffer("uint64_t[]", array, require_writable=True)

    def _bytes(self, data: Buffer) -> Any:
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
        if status in OF_PEER:
            raise InvalidCiphertext(f"{what}: {OF_PEER[status]}")
        if status:
            raise InvalidInput(f"{what}: the kernel refuses these arguments ({status})")

    def _drawing(self, seed: bytes, call: Any) -> int:
        """The status of call(stream, bytes), with as much of the seed's stream as it wants."""
        stream, size = expand(seed), self._stream_bytes
        while True:
            drawn = self._pool.take(-(-size // 8))
            stream.fill(drawn.octets[:size])
            status = int(call(drawn.octet_pointer, size))
            self._pool.give(drawn)
            if status != SHORT_STREAM:
                return status
            stream, size = expand(seed), size + self._stream_bytes // 8

    def _together(self, works: Sequence[Work], mapper: Mapper, callers: int) -> None:
        """Does some works one after the other, in up to so many threads as `mapper` finds for them."""
        progress = self._new_words(np.zeros(self._lib.KERNEL_PROGRESS_WORDS, np.uint64))

        def take_part(number: int) -> None:
            share = self._ffi.new("kernel_share *", (number, callers, 0, progress))
            for work in works:
                status = work.call(share)
                if status == LEFT:
                    return
                self._check(status, work.what)

        deque(mapper(take_part, range(callers)), maxlen=0)

    # ---- from randomness

    def ternary(self, words: Buffer) -> Small:
        """N coefficients uniform in {-1, 0, 1}, from N words: each modulo 3."""
        return self._from_words(words, self._lib.kernel_ternary)

    def error(self, words: Buffer) -> Small:
        """One RLWE error from N words: the ones of bits 0 to 20 less those of bits 32 to 52."""
        return self._from_words(words, self._lib.kernel_error)

    def _from_words(self, words: Buffer, convert: Any) -> Small:
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

    def pack(self, residues: Words) -> bytes:
        """Residues, each prime at its own bit length: `packed_bytes` of them."""
        return self._packed(self._residues(residues))

    def _packed(self, residues: Any, head: bytes = b"") -> bytes:
        """The same for a pointer to them, behind a head."""
        size = self.packed_bytes
        out = self._pool.take(-(-size // 8))
        self._check(self._lib.kernel_pack(self._context, residues, out.octet_pointer, size), "residues")
        packed = b"".join((head, out.octets[:size].data))
        self._pool.give(out)
        return packed

    def unpack(self, packed: bytes) -> Words:
        """The inverse of `pack`. Refuses another length, and a residue that is not below its prime."""
        out = np.empty((len(self.primes), DEGREE), np.uint64)
        status = self._lib.kernel_unpack(self._context, self._bytes(packed), len(packed), self._new_words(out))
        self._check(status, "the peer's polynomial")
        return out

    def reply_bytes(self, layout: Layout, index: int) -> int:
        """How long the body of a reply is."""
        return self._reply_bytes(self._layout(layout), index)

    def _reply_bytes(self, numbers: Any, index: int) -> int:
        return int(self._lib.kernel_reply_bytes(self._context, numbers, index))
