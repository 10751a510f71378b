"""Eight X25519 multiplications or modular exponentiations at a time: Intel Cryptography Primitives, through ctypes.

    available()  ->  x25519_many(scalar, points)        one clamped scalar, any number of points
                     modexp_many(bases, e, m)           one exponent
    field25519()     ->  products and powers mod 2^255 - 19; None where there are none
    not available()  ->  the caller takes its plain path (`cryptography`, `gmpy2`); the results are the same bytes

The kernels need AVX-512 IFMA and kill the process (SIGILL) on a CPU without it, so nothing of the library is loaded
before /proc/cpuinfo has been read. That read is the only file access here; it happens once, on first use. The shared
objects come from the wheels `ipp-crypto` and `intel-cmplr-lib-rt`, and want the system's libcrypto.so.3.
`SECURE_HFL_NO_MULTI_BUFFER=1` in the environment switches all of it off.

ctypes lets go of the interpreter lock during a call, so threads scale; every call has its own buffers.

**Not its published interface**: the field functions are what its X25519 and Ed25519 are made of, exported by the shared
object but in no header that it installs. So they are used only if a test in this process finds that they do what we
expect, within the bounds and the memory that we expect, and who uses them checks results.

**Leaks**: the kernels run in time that depends on sizes only (exponents: on their length).

**Reference**: https://github.com/intel/cryptography-primitives, sources/ippcp/crypto_mb; RFC 7748 for X25519.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput, LocalMisuse

LANES = 8
POINT_BYTES = 32
MAX_MODULUS_BITS = 4096
SWITCH = "SECURE_HFL_NO_MULTI_BUFFER"

_LIBRARIES = ("libintlc.so.5", "libimf.so", "libirng.so", "libsvml.so", "libcrypto_mb.so.13")
"""In the order of their dependencies: an object already loaded under its name satisfies the next one's need for it."""

_MODULUS_WINDOWS = ((989, 1024), (2029, 2048), (3069, 3072), (4057, 4096))
"""Bit lengths for which mbx_exp_mb8 has a kernel. It answers OK with *wrong* numbers when a modulus is shorter than the
length it was declared with, so a modulus outside of the windows is never declared longer: it is made longer."""

FIELD_PRIME = 2**255 - 19

_LOW_ORDER = 4
"""mbx_status of an X25519 lane whose result is zero."""

_LOW_ORDER_ANY = sum(_LOW_ORDER << 4 * lane for lane in range(LANES))

Integer: TypeAlias = "int | mpz"
Limbs: TypeAlias = NDArray[np.uint64]


def available() -> bool:
    """Whether the functions below may be called here and now."""
    return not why_unavailable()


def why_unavailable() -> str:
    """What is missing, in a sentence for a log or a report; empty when nothing is."""
    if os.environ.get(SWITCH, "") not in ("", "0"):
        return f"switched off by {SWITCH}"
    return _load()[1]


def x25519_many(scalar: bytes, points: bytes) -> bytes:
    """X25519 (RFC 7748) of one scalar with every point that is pseudo-random and not of low order.

    The kernel subtracts field elements that are not fully reduced, and errs when one of them lies within about
    2^-34 of zero and the other just above p. No chance hits that (about 2^-58 an exchange), but a chosen point does:
    p - 1, of order 4 on the twist, does not give zero as it should. Refuse points of low order before calling.

    Args:
        scalar: 32 bytes; clamped as RFC 7748 says.
        points: n u-coordinates of 32 bytes each, n from 0 up.

    Returns:
        n u-coordinates.

    Raises:
        InvalidInput: an argument has a wrong size.
        LocalMisuse: the library is not available, or failed.
    """
    kernel = _library().mbx_x25519_mb8
    if len(scalar) != POINT_BYTES or len(points) % POINT_BYTES:
        raise InvalidInput("x25519_many takes a scalar of 32 bytes and points of 32 bytes each")
    padded = -len(points) % (LANES * POINT_BYTES)
    source = points + bytes(padded) if padded else points  # the padding's lanes give zero, and are cut off
    target = ctypes.create_string_buffer(len(source))
    key = ctypes.create_string_buffer(scalar, POINT_BYTES)
    keys = _same(key)
    sources, targets = _each(source, POINT_BYTES), _each(target, POINT_BYTES)
    # A loop in C: one in Python would add a percent and a half.
    statuses = set(map(kernel, targets.blocks(), repeat(ctypes.addressof(keys)), sources.blocks()))
    ctypes.memset(key, 0, POINT_BYTES)
    for status in statuses:
        if status & ~_LOW_ORDER_ANY:
            raise LocalMisuse(f"mbx_x25519_mb8 failed with status {status:#x}")
    return target.raw[: len(points)]


def modexp_many(bases: Sequence[Integer], exponent: Integer, modulus: Integer) -> list[mpz]:
    """base^exponent mod modulus for every base, in order.

    Args:
        bases: any integers; taken modulo `modulus`.
        exponent: 0 to 2^4096 - 1. The running time depends on its length.
        modulus: odd, 3 to 2^4096 - 1.

    Raises:
        InvalidInput: an argument is out of these ranges.
        LocalMisuse: the library is not available, or failed.
    """
    library = _library()
    if exponent < 0:
        raise InvalidInput("an exponent must not be negative")
    exponent_bits = max(1, exponent.bit_length())
    wanted = mpz(modulus)
    working = _fit(wanted, exponent_bits)
    bits = working.bit_length()
    count = len(bases)
    padded = count + -count % LANES
    width = _words(bits)
    source = _pack([base % wanted for base in bases], width, padded)
    power = _pack([exponent], _words(exponent_bits), 1)
    divisor = ctypes.create_string_buffer(int(working).to_bytes(width, "little"), width)
    target = ctypes.create_string_buffer(width * padded)
    scratch_size = library.mbx_exp_BufferSize(bits)
    scratch = ctypes.create_string_buffer(scratch_size)
    sources, targets, divisors, powers = _each(source, width), _each(target, width), _same(divisor), _same(power)
    for at in range(0, padded, LANES):
        status = library.mbx_exp_mb8(
            targets.at(at), sources.at(at), powers, exponent_bits, divisors, bits, scratch, scratch_size
        )
        if status:
            raise LocalMisuse(f"mbx_exp_mb8 failed with status {status:#x}")
    for secret in (power, scratch):
        ctypes.memset(secret, 0, len(secret))
    raw = target.raw
    powered = [mpz.from_bytes(raw[at : at + width], "little") for at in range(0, count * width, width)]
    return powered if working == wanted else [value % wanted for value in powered]


def _fit(modulus: mpz, exponent_bits: int) -> mpz:
    """The modulus, or an odd multiple of it with a length for which there is a kernel: as long as the exponents."""
    bits = modulus.bit_length()
    if modulus < 3 or not modulus.bit_test(0) or bits > MAX_MODULUS_BITS:
        raise InvalidInput(f"a modulus must be odd, at least 3, and have at most {MAX_MODULUS_BITS} bits")
    if exponent_bits > MAX_MODULUS_BITS:
        raise InvalidInput(f"exponents may have at most {MAX_MODULUS_BITS} bits, not {exponent_bits}")
    low, high = next(window for window in _MODULUS_WINDOWS if max(bits, exponent_bits) <= window[1])
    if bits >= max(low, exponent_bits):
        return modulus
    factor = gmpy2.f_div((mpz(1) << high) - 1, modulus)
    return modulus * (factor if factor.bit_test(0) else factor - 1)


def _words(bits: int) -> int:
    """Bytes of as many 64-bit words as hold `bits`."""
    return (bits + 63) // 64 * 8


def _pack(values: Sequence[Integer], width: int, count: int) -> ctypes.Array[ctypes.c_char]:
    """Little-endian integers of `width` bytes, and zeros up to `count` of them."""
    return ctypes.create_string_buffer(b"".join([v.to_bytes(width, "little") for v in values]), width * count)


class _each:
    """Addresses of consecutive items of one buffer, as the kernels take them: an array of pointers."""

    def __init__(self, buffer: bytes | ctypes.Array[ctypes.c_char], size: int) -> None:
        start = _address(buffer)
        count = len(buffer) // size
        self._keep = buffer
        self._pointers = start + size * np.arange(count, dtype=np.uintp)
        self._start = self._pointers.ctypes.data

    def at(self, index: int) -> int:
        """The address of the pointers from item `index` on."""
        return self._start + index * self._pointers.itemsize

    def blocks(self) -> range:
        """The addresses of the pointers of items 0, 8, 16, ..."""
        return range(self._start, self._start + self._pointers.nbytes, LANES * self._pointers.itemsize)


def _same(buffer: ctypes.Array[ctypes.c_char]) -> ctypes.Array[ctypes.c_void_p]:
    """Eight pointers to one item."""
    return (ctypes.c_void_p * LANES)(*[_address(buffer)] * LANES)


def _address(buffer: bytes | ctypes.Array[ctypes.c_char]) -> int:
    if isinstance(buffer, bytes):
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    return ctypes.addressof(buffer)


class Field25519:
    """Numbers mod p = 2^255 - 19, eight at a time.

    **Shapes**: uint64 [blocks, 5, 8] at an address that 64 divides (`aligned`): limbs of 52 bits, the lowest first, of
    eight numbers. Limbs that go in are below 2^52, the highest below 2^47 + 2^16; so are those that come out, which
    need not be reduced.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._product = _function(library, "fe52_mb_mul_mod25519", [ctypes.c_void_p] * 3)
        self._squares = _function(library, "fe52_mb_sqr_mod25519_times", [ctypes.c_void_p] * 2 + [ctypes.c_int])
        self._power = _function(library, "fe52_pow_2_252m3_mod25519", [ctypes.c_void_p] * 2)

    def multiply(self, a: Limbs, b: Limbs) -> Limbs:
        """a * b. The first block of `b` serves all of `a` if there are not as many."""
        result, call = aligned(a.shape), self._product
        seconds = _block_addresses(b)
        each = seconds if len(b) == len(a) else [seconds[0]] * len(a)
        for to, first, second in zip(_block_addresses(result), _block_addresses(a), each):
            call(to, first, second)
        return result

    def square(self, a: Limbs, times: int = 1) -> Limbs:
        """a^(2^times)."""
        result, call = aligned(a.shape), self._squares
        for to, base in zip(_block_addresses(result), _block_addresses(a)):
            call(to, base, times)
        return result

    def power(self, a: Limbs) -> Limbs:
        """a^((p - 5) / 8), p - 5 = 8 (2^252 - 3)."""
        result, call = aligned(a.shape), self._power
        for to, base in zip(_block_addresses(result), _block_addresses(a)):
            call(to, base)
        return result

    def works(self) -> bool:
        """Whether the functions do that: on numbers below p, and on limbs as large as they may be."""
        below = limbs_of([FIELD_PRIME - 1 - (FIELD_PRIME >> 7 * lane) * lane for lane in range(LANES)])
        largest = np.repeat(_LIMB_BOUNDS - np.uint64(1), LANES, axis=1)
        return self._works_on(below) and self._works_on(largest)

    def _works_on(self, limbs: Limbs) -> bool:
        guarded = aligned((4, 5, LANES))  # the calls write block 1; 0, 2 and 3 stay
        guarded[:] = 0xA5A5A5A5A5A5A5A5
        guarded[1] = limbs
        block, guards = guarded[1:2], guarded[[0, 2, 3]].copy()
        steps: list[tuple[Callable[[int], None], Callable[[int], int]]] = [
            (lambda to: self._product(to, to, to), lambda x: x * x),
            (lambda to: self._squares(to, to, 2), lambda x: pow(x, 4, FIELD_PRIME)),
            (lambda to: self._power(to, to), lambda x: pow(x, (FIELD_PRIME - 5) // 8, FIELD_PRIME)),
        ]
        for call, expected in steps:
            before = numbers_of(block[0])
            call(block.ctypes.data)
            right = all((x - expected(y)) % FIELD_PRIME == 0 for x, y in zip(numbers_of(block[0]), before))
            if not right or (block >= _LIMB_BOUNDS).any():
                return False
        return bool((guarded[[0, 2, 3]] == guards).all())


_LIMB_BOUNDS: Limbs = np.array([[2**52]] * 4 + [[2**47 + 2**16]], np.uint64)


def aligned(shape: tuple[int, ...]) -> Limbs:
    """Words for the kernels, at an address that 64 divides: they may move whole registers."""
    count = int(np.prod(shape))
    words = np.empty(count + 7, np.uint64)
    start = -words.ctypes.data % 64 // 8
    return words[start : start + count].reshape(shape)


def numbers_of(block: Limbs) -> list[int]:
    """The eight numbers of one block [5, 8], not reduced."""
    return [sum(int(limb) << 52 * k for k, limb in enumerate(lane)) for lane in block.T]


def limbs_of(numbers: Sequence[Integer]) -> Limbs:
    """Eight numbers below 2^255 as one block [5, 8]."""
    return np.array([[int(number) >> 52 * k & (1 << 52) - 1 for number in numbers] for k in range(5)], np.uint64)


def _function(library: ctypes.CDLL, name: str, arguments: list[Any]) -> Any:
    function = getattr(library, name)
    function.argtypes, function.restype = arguments, None
    return function


def _block_addresses(a: Limbs) -> range:
    if a.dtype != np.uint64 or a.shape[1:] != (5, LANES) or not a.flags.c_contiguous or a.ctypes.data % 64:
        raise InvalidInput(f"field elements must be aligned uint64 [blocks, 5, {LANES}], not {a.dtype} {list(a.shape)}")
    return range(a.ctypes.data, a.ctypes.data + a.nbytes, 5 * LANES * 8)


def field25519() -> Field25519 | None:
    """The field functions, if they may be called here and now."""
    return _load_field() if available() else None


@functools.cache
def _load_field() -> Field25519 | None:
    try:
        field = Field25519(_library())
    except AttributeError:  # another version of the library need not export them
        return None
    return field if field.works() else None


def _library() -> ctypes.CDLL:
    reason = why_unavailable()
    library = _load()[0] if not reason else None
    if library is None:
        raise LocalMisuse(f"no multi-buffer library: {reason}; ask available() first")
    return library


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or why there is none. The CPU is asked before anything is loaded."""
    if not _cpu_has_ifma():
        return None, "the CPU has no AVX-512 IFMA"
    try:
        ctypes.CDLL("libcrypto.so.3")
        # RTLD_LOCAL (the default): libimf also exports libm's names, which must not reach libraries loaded later.
        library = [ctypes.CDLL(os.path.join(sys.prefix, "lib", name)) for name in _LIBRARIES][-1]
    except OSError as error:
        return None, f"a shared library is missing (wheels ipp-crypto and intel-cmplr-lib-rt): {error}"
    if library.mbx_is_crypto_mb_applicable(ctypes.c_uint64(0)) != 1:
        return None, "libcrypto_mb says that it does not run on this CPU"
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    library.mbx_x25519_mb8.argtypes = [pointer] * 3
    library.mbx_x25519_mb8.restype = ctypes.c_uint32
    library.mbx_exp_mb8.argtypes = [pointer, pointer, pointer, integer, pointer, integer, pointer, integer]
    library.mbx_exp_mb8.restype = ctypes.c_uint32
    return library, ""


def _cpu_has_ifma() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpus:
            return any("avx512ifma" in line.split() for line in cpus if line.startswith("flags"))
    except OSError:
        return False
