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


def aligned(words: int) -> Words:
    raw = np.empty(words + _ALIGNMENT // 8, np.uint64)
    start = (-raw.ctypes.data % _ALIGNMENT) // 8
    return raw[start : start + words]


class Pool:
    """Buffers for use again: fresh pages, which the system must clear first, cost more than most of the arithmetic."""

    _SIZES = 16
    _queue = staticmethod(partial(deque[Words], maxlen=64))
    """Not by the module's name: what is let go when the interpreter ends comes here too, and names are gone then."""

    def __init__(self) -> None:
        self._free: dict[int, deque[Words]] = {}

    def take(self, words: int) -> Words:
        """A buffer of that size that nobody else has. It holds anything."""
        try:
            return self._free[words].pop()
        except (KeyError, IndexError):
            return aligned(words)

    def give(self, buffer: Words) -> None:
        """Hands a buffer on, after which its giver must not touch it."""
        if len(self._free) > self._SIZES:
            self._free = {}
        self._free.setdefault(buffer.size, self._queue()).append(buffer)


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

    def __init__(self, kernel: object, pool: Pool, words: Words, parts: int) -> None:
        super().__init__(kernel)
        self.parts = parts
        self.words, self._pool = words, pool

    def __del__(self) -> None:
        self._pool.give(self.words)


class Once(Opaque):
    """What hides one message, and would show two: it can be taken once."""

    def __init__(self, kernel: object, words: Words) -> None:
        super().__init__(kernel)
        self._words = deque((words,))

    def take(self) -> Words:
        """Its words, for whoever asks first."""
        try:
            return self._words.pop()
        except IndexError:
            raise InvalidInput(f"a {type(self).__name__} hides one message only, and has hidden it") from None


class KernelZero(Once):
    """c0 of a symmetric encryption of zero."""


class KernelMask(Once):
    """u * key and e2: a public-key encryption of zero, but for the flooding."""

    def __init__(self, kernel: object, words: Words, error: Small) -> None:
        super().__init__(kernel, words)
        self.error = error
