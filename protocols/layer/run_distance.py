"""What one side of a secret-shared layer shows the other in a whole run: a statistical distance, checked before it.

    run  =  once (the first weights)  +  batches x (the products that this side computes for a batch)

Half of what a run may have is for the declared run, and half for what is repeated after interruptions. What really was
shown is counted as it is sent (`DistanceBudget`), so nothing rests on what was declared.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.distance import RUN_BITS, Distance
from protocols.core.errors import InvalidInput

RESERVE = 2
"""Times that the declared run's distance, squared, must fit."""


@dataclass(frozen=True)
class RunDistance:
    """Of one side.

    Attributes:
        once: at the set-up.
        batch: of one batch of training. One of a test shows less.
    """

    once: Distance
    batch: Distance

    def __add__(self, other: RunDistance) -> RunDistance:
        return RunDistance(self.once + other.once, self.batch + other.batch)

    def of(self, batches: int) -> Distance:
        """Of a run of so many batches."""
        return self.once + self.batch * batches

    @property
    def most_batches(self) -> int:
        """How many batches may be declared."""
        low, high = 0, 1 << 62
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(middle) else (low, middle - 1)
        return low

    def _fits(self, batches: int) -> bool:
        return (self.of(batches) * RESERVE).fits

    def check(self, who: str, batches: int | None) -> None:
        """Raise `InvalidInput`, with the numbers, unless a run of so many batches may be declared.

        Args:
            who: whose secrets these are.
            batches: of training and tests; None: nobody says. Then the run goes on until it has shown what it may.
        """
        if batches is None or self._fits(batches):
            return
        raise InvalidInput(
            f"{who}: the declared run of {batches:,} batches would show, as a statistical distance, "
            f"{self.of(batches)}; 2^-{RUN_BITS} is the most, half of its square is kept for interruptions, and so "
            f"{self.most_batches:,} batches of this size fit. Lower max_rounds, train on fewer or smaller batches, "
            "make the projection narrower, or take scheme paillier"
        )
