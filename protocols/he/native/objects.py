"""What the kernel makes and takes: opaque, of one process, and of one use where secrecy asks for it; their memory."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput

Words = NDArray[np.uint64]
Small = NDArray[np.int8]

_ALIGNMENT = 64


def readable(array: NDArray[Any]) -> NDArray[Any]:
    """The same as C may read it: in a row, and no value between two words, as in a view of a message."""
    own = np.ascontiguousarray(array)
    return own if own.flags.aligned else own.copy()


class Memory:
    """An aligned buffer of so many words, which holds anything, and the pointers that the kernel takes for it.

    Attributes:
        words, octets: the buffer, [size] uint64, and the same as uint8.
        pointer, octet_pointer: to both, for writing.
    """

    __slots__ = ("octet_pointer", "octets", "pointer", "size", "words")

    def __init__(self, ffi: Any, size: int) -> None:
        raw = np.empty(size + _ALIGNMENT // 8, np.uint64)
        start = (-raw.ctypes.data % _ALIGNMENT) // 8
        self.size = size
        self.words: Words = raw[start : start + size]
        self.octets: NDArray[np.uint8] = self.words.view(np.uint8)
        self.pointer: Any = ffi.from_buffer("uint64_t[]", self.words, require_writable=True)
        self.octet_pointer: Any = ffi.from_buffer("uint8_t[]", self.octets, require_writable=True)


class Pool:
    """Buffers for use again: fresh pages, which the system must clear first, cost more than most of the arithmetic."""

    _SIZES = 16
    _queue = staticmethod(partial(deque[Memory], maxlen=64))
    """Not by the module's name: what is let go when the interpreter ends comes here too, and names are gone then."""

    def __init__(self, ffi: Any) -> None:
        self._ffi = ffi
        self._free: dict[int, deque[Memory]] = {}

    def take(self, words: int) -> Memory:
        """A buffer of that size that nobody else has."""
        try:
            return self._free[words].pop()
        except (KeyError, IndexError):
            return Memory(self._ffi, words)

    def give(self, memory: Memory) -> None:
        """Hands a buffer on, after which its giver must not touch it."""
        free = self._free.get(memory.size)
        if free is None:
            if len(self._free) >= self._SIZES:
                self._free = {}
            free = self._free.setdefault(memory.size, self._queue())
        free.append(memory)


class Opaque:
    """Shows nothing of itself and stays in its process."""

    def __init__(self, kernel: object) -> None:
        self.kernel = kernel

    def __reduce__(self) -> str | tuple[object, ...]:
        raise InvalidInput(f"a {type(self).__name__} stays in its process")


class KernelSecret(Opaque):
    """A secret key in the kernel's own form, overwritten when it is let go."""

    def __init__(self, kernel: object, handle: Any) -> None:
        super().__init__(kernel)
        self.handle = handle


class KernelOperand(Opaque):
    """A loaded operand or public key, for the kernel that loaded it."""

    def __init__(self, kernel: object, pool: Pool, memory: Memory, parts: int) -> None:
        super().__init__(kernel)
        self.parts = parts
        self.memory, self._pool = memory, pool

    def __del__(self) -> None:
        self._pool.give(self.memory)


class Once(Opaque):
    """What hides one message, and would show two: it can be taken once."""

    def __init__(self, kernel: object, memory: Memory) -> None:
        super().__init__(kernel)
        self._memory = deque((memory,))

    def take(self) -> Memory:
        """Its words, for whoever asks first."""
        try:
            return self._memory.pop()
        except IndexError:
            raise InvalidInput(f"a {type(self).__name__} hides one message only, and has hidden it") from None


class KernelZero(Once):
    """c0 of a symmetric encryption of zero."""


class KernelMask(Once):
    """u * key and e2: a public-key encryption of zero, but for the flooding."""

    def __init__(self, kernel: object, memory: Memory, error: Small) -> None:
        super().__init__(kernel, memory)
        self.error = error
