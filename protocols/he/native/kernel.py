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

from protocols.he.native.evaluator import EvaluatorHalf
from protocols.he.native.library import instruction_sets
from protocols.he.native.owner import OwnerHalf

__all__ = ["Kernel", "instruction_sets"]


class Kernel(OwnerHalf, EvaluatorHalf):
    """The arithmetic for some primes and one way to send replies.

    Args:
        primes: distinct, 1 mod 2N, between 2^46 and 2^50; any order, which is that of rows of residues.
        scale_bits: W, replies are scaled to 2^W.
        drop_bits: D, how many low bits of c0 a reply leaves out.
        flood_bits: flooding is the centred sum of three integers below 2^flood_bits.
        instruction_set: one of `instruction_sets()`, or empty for the best.
        switching: a kernel with one more prime P, for key switching; None: no sums are packed.
        raised: operands and keys are modulo P as well, loaded by `switching`, and a reply has 1/P of their sums.

    Raises:
        InvalidInput: the module was not built, this machine lacks the set, or a number is out of range.
    """
