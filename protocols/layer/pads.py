"""Pads that hide each collaborator's projection from the host and leave it the sum of all: fusion="sum".

    collaborator k    sends z_k + pad_k,  pad_k = sum over the others j of  + or - PRG(seed_kj, batch)   in Z_{2^59}
    host              adds what comes from all:  sum of z_k,  since each PRG(seed_kj, batch) is in it with either sign

`seed_kj` is known to k and j alone (protocols/task/sum_keys.py). k adds what j subtracts: the lower fingerprint adds.

**Leaks** the host: the sum. What it gets of each collaborator is uniform, and so are all together but for their sum,
as long as PRG is one. A host that colludes with some collaborators knows their pads, and with them the sum over the
others: with all but one, the last one's projection. There are no drop-outs: a task that loses a party goes on from a
checkpoint in another session, with other seeds. A collaborator that pads wrongly makes the sum uniform, and the host's
range check finds that in any batch of some hundred numbers.

In a prediction the host says which rows a batch has, to each collaborator by itself. There the pads are also of the
batch's ids: they cancel only where all were asked for the same ones, so that no sum mixes rows of different samples.

**Reference** Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning (CCS 2017), without
its recovery from drop-outs. PRG: ChaCha20 (RFC 8439) under SHA-256 of the seed, the batch's number and its ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from protocols.core.randomness import expand
from protocols.he.interface import RING_BITS
from protocols.layer.shapes import Ring, add, subtract

_TAG = b"secure-hfl pad v1\n"


@dataclass(frozen=True)
class PairSeed:
    """What two collaborators share.

    Attributes:
        seed: 32 secret bytes.
        adds: whether this side adds its pads; the other one subtracts them.
    """

    seed: bytes = field(repr=False)
    adds: bool


class Pads:
    """One collaborator's pads in one session: one for each batch of its layer, training and tests counted together.

    Args:
        seeds: with each of the others.
    """

    def __init__(self, seeds: Sequence[PairSeed]) -> None:
        self._seeds = tuple(seeds)
        self._used = 0
        self._ids = b""

    def __repr__(self) -> str:
        return f"<Pads with {len(self._seeds)} others, {self._used} used>"

    def bind(self, ids: bytes) -> None:
        """The next batch's pads cancel only those of collaborators who say the same `ids`: a digest of its samples."""
        self._ids = ids

    def skip(self) -> None:
        """The next batch crosses at other collaborators only."""
        self._used, self._ids = self._used + 1, b""

    def draw(self, rows: int, width: int) -> Ring:
        """The next batch's, [rows, width]. Never the same one twice."""
        number, ids = self._used, self._ids
        self.skip()
        total: Ring = np.zeros((rows, width), np.uint64)
        for each in self._seeds:
            place = b"%d %d %d %s" % (number, rows, width, ids)
            pad = expand(hashlib.sha256(_TAG + each.seed + place).digest()).ring((rows, width), RING_BITS)
            total = (add if each.adds else subtract)(total, pad)
        return total


def total(summands: Sequence[Ring]) -> Ring:
    """The sum in the ring of what came from all collaborators, [rows, o] each: their pads are gone."""
    result = summands[0]
    for each in summands[1:]:
        result = add(result, each)
    return result
