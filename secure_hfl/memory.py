"""What the C library's malloc keeps of memory that is free. Only glibc's is asked; with another nothing happens.

glibc gives threads arenas of their own, up to eight a core, and a piece of an arena that is freed is of use to its own
threads only. Every task has other threads: without a bound, each left some 0.7 MB behind in pieces, and `paillier` kept
90 MB of numbers that were free. The threads of a run rarely allocate at the same time, as they need the interpreter.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache

ARENAS = 2
M_ARENA_MAX = -8  # of malloc.h


@cache
def share_arenas() -> None:
    """From now on threads share a few arenas, unless the environment says how many there are."""
    mallopt = _glibc("mallopt")
    if mallopt is None or "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give the operating system what is free. Takes less than a millisecond: for the end of a task."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


@cache
def _glibc(name: str) -> Callable[..., int] | None:
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - other libraries have a malloc of their own
        function: Callable[..., int] = getattr(library, name)
    except (AttributeError, OSError, TypeError):
        return None
    return function
