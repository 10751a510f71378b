"""Elligator 2 on many field elements at once, in the multi-buffer library's field: one exponentiation for each.

    48 bytes --mod p--> u,  t = 2 u^2,  d = 1 + t,  e = J^2 t - d^2 = t (J^2 - 2 - t) - 1,  w = d e
    q = w^((p - 5) / 2)        from a power that the library has, squared twice
    s = q w^2 = w^((p - 1) / 2), the symbol of w:  x1 is on the curve when s is the symbol of J, -1 (encode.py says why)
    1 / d = s q w e            because w^-1 = w^(p - 2) = q^2 w^3 = s q w; w is never 0
    x = -J / d where x1 is on the curve, else -J + J / d

The symbol costs most of the plain path (GMP's takes a misjudged branch at every step) and an inversion; here one power
gives both, in a number of steps that does not depend on the id. **Checked**: s must be 1 or -1 for every element, which
a power that went wrong would hardly give; and encode.py computes one element of each call the plain way.

**Shapes** here: limbs [5, n], 52 bits each; n is a multiple of 8. "Weak": below 2^52, the highest below 2^47 + 2^12.
"""

from __future__ import annotations

import numpy as np

from protocols.core.errors import LocalMisuse
from protocols.core.multi_buffer import FIELD_PRIME as P
from protocols.core.multi_buffer import LANES, SWITCH, Field25519, Limbs, aligned, limbs_of

UNIFORM_BYTES = 48
BATCH = 2048
"""Elements whose limbs stay in the processor's cache from step to step."""

_J = 486662
_MASK = np.uint64(2**52 - 1)
_TOP_MASK = np.uint64(2**47 - 1)
_LIMB, _TOP = np.uint64(52), np.uint64(47)
_OVER_255, _OVER_260 = np.uint64(19), np.uint64(19 * 32)  # what 2^255 and 2^260 are mod p


def _column(number: int) -> Limbs:
    """One number below 2^255 as limbs [5, 1]."""
    return limbs_of([number])


_FOUR_P = np.uint64(4) * _column(P)
"""Above every weak number, limb by limb, so that a difference stays positive in each."""

_J_BLOCK = aligned((1, 5, LANES))
_J_BLOCK[0] = limbs_of([_J] * LANES)


def map_many(field: Field25519, uniform: bytes) -> bytes:
    """Q.x for n strings of 48 uniform bytes (big-endian, as `hash_to_field` makes them), 32 bytes each."""
    size = BATCH * UNIFORM_BYTES
    return b"".join([_map_batch(field, uniform[at : at + size]) for at in range(0, len(uniform), size)])


def _map_batch(field: Field25519, uniform: bytes) -> bytes:
    count = len(uniform) // UNIFORM_BYTES
    u = _reduced(uniform + bytes(-count % LANES * UNIFORM_BYTES))
    t = _unpack(field.square(_pack(u)))
    t = _weak(t + t)
    d = _pack(_weak(t + _column(1)))
    e = _unpack(field.multiply(_pack(t), _pack(_weak(_FOUR_P + _column(_J * _J - 2) - t))))
    e = _pack(_weak(e + (_FOUR_P - _column(1))))
    w = field.multiply(d, e)
    qw = field.multiply(field.square(field.power(w), times=2), w)
    symbol = _canonical(_unpack(field.multiply(qw, w)))
    is_one, is_minus_one = ((symbol == _column(value)).all(axis=0) for value in (1, P - 1))
    if not (is_one | is_minus_one).all():
        raise LocalMisuse(f"the multi-buffer library's field gave a wrong power; switch it off with {SWITCH}=1")
    y = _unpack(field.multiply(field.multiply(qw, e), _J_BLOCK))  # s J / d
    x = _weak(y + np.where(is_one, _column(P - _J), np.uint64(0)))
    return _to_bytes(_canonical(x))[: count * 32]


def _reduced(uniform: bytes) -> Limbs:
    """384-bit big-endian numbers mod p, weak."""
    words = np.frombuffer(uniform, ">u8").reshape(-1, 6)[:, ::-1].T.astype(np.uint64, order="C")
    limbs = [words[0]]
    for limb in range(1, 8):  # 52 limb = 64 word + shift
        word, shift = divmod(52 * limb, 64)
        low = words[word] >> np.uint64(shift)
        limbs.append(low if shift <= 12 or word == 5 else low | words[word + 1] << np.uint64(64 - shift))
    split = np.stack(limbs) & _MASK
    split[:3] += split[5:] * _OVER_260
    return _weak(split[:5])


def _weak(limbs: Limbs) -> Limbs:
    """The same mod p, weak. Limbs may have up to 63 bits. In place."""
    limbs[0] += (limbs[4] >> _TOP) * _OVER_255
    limbs[4] &= _TOP_MASK
    return _carried(limbs)


def _carried(limbs: Limbs) -> Limbs:
    for k in range(4):
        limbs[k + 1] += limbs[k] >> _LIMB
        limbs[k] &= _MASK
    return limbs


def _canonical(limbs: Limbs) -> Limbs:
    """The same mod p, below p."""
    limbs = _weak(limbs)
    above = _carried(limbs + _column(19))[4] >> _TOP  # 1 where the number is p or more
    limbs[0] += above * _OVER_255
    limbs = _carried(limbs)
    limbs[4] &= _TOP_MASK
    return limbs


def _to_bytes(limbs: Limbs) -> bytes:
    """32 bytes little-endian for each canonical number."""
    words = [limbs[k] >> np.uint64(12 * k) | limbs[k + 1] << np.uint64(52 - 12 * k) for k in range(4)]
    return np.stack(words, axis=1).astype("<u8").tobytes()


def _pack(limbs: Limbs) -> Limbs:
    """[5, n] to the library's blocks."""
    blocks = limbs.reshape(5, -1, LANES).transpose(1, 0, 2)
    packed = aligned(blocks.shape)
    packed[:] = blocks
    return packed


def _unpack(blocks: Limbs) -> Limbs:
    return np.ascontiguousarray(blocks.transpose(1, 0, 2)).reshape(5, -1)
