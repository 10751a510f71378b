"""BFV parameter sets that no task runs any more, for the sizes and distances of transcripts that name them.

Their parts (versions 1 and 2 of the format) had a seed of 64 bytes, and replies modulo the first of the data primes.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.he.bit_packing import packed_size
from protocols.he.flooded_set import FloodedSet

_SEED_BYTES = 64


@dataclass(frozen=True)
class RetiredSet(FloodedSet):
    """One of them.

    Args:
        reply_levels: how many of the first primes a reply kept.
    """

    reply_levels: int

    @property
    def reply_width(self) -> int:
        return sum(prime.bit_length() for prime in self._reply_primes)

    @property
    def operand_bytes(self) -> int:
        return _SEED_BYTES + _packed(self.degree, self.data_primes)

    def reply_bytes(self, places: int) -> int:
        return sum(_packed(count, self._reply_primes) for count in (places, self.degree))

    @property
    def _reply_primes(self) -> tuple[int, ...]:
        return self.primes[: self.reply_levels]


def _packed(count: int, primes: tuple[int, ...]) -> int:
    return sum(packed_size(count, prime.bit_length()) for prime in primes)


RETIRED_SETS = {
    parameters.name: parameters
    for parameters in (
        RetiredSet(
            name="bfv-8192-138",
            identifier=1,
            degree=8192,
            primes=(1152921504606830593, 163841, 1152921504606748673, 65537),
            flood_bits=76,
            reply_levels=2,
        ),
        RetiredSet(
            name="bfv-8192-180",
            identifier=2,
            degree=8192,
            primes=(144115188075593729, 114689, 9007199254429697, 9007199254364161, 65537),
            flood_bits=117,
            reply_levels=2,
        ),
        RetiredSet(
            name="bfv-8192-144",
            identifier=3,
            degree=8192,
            primes=(1152921504606830593, 16760833, 1152921504606748673, 65537),
            flood_bits=83,
            reply_levels=2,
        ),
        RetiredSet(
            name="bfv-8192-186",
            identifier=4,
            degree=8192,
            primes=(144115188075593729, 114689, 72057594037616641, 72057594037370881, 65537),
            flood_bits=124,
            reply_levels=2,
        ),
    )
}
"""1 and 2 flooded too little for a whole run; 3 and 4 had primes of up to 60 bits, for SEAL alone."""
