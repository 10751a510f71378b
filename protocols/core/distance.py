"""How far what a party sees is from what says nothing of the other's secrets, and how that adds up over a run.

What is sent back under encryption carries noise that hides a secret up to a *statistical distance*: no attacker,
however strong, tells a run from its ideal with a better advantage. Distances of many messages add up:

    total  <=  sum of what adds up linearly  +  (sum of squares)^1/2

    squares    of noise whose density falls off smoothly. If each message is within Hellinger distance h of its ideal
               (h^2 = 1 - sum of (p q)^1/2), whatever was seen before, the run is within (sum of 2 h^2)^1/2: affinities
               multiply, and the statistical distance is at most 2^1/2 times Hellinger's. Kept here: 2 h^2 a message.
    linear     of uniform noise, where the two ends of the range give a shift away: the statistical distances themselves

So a thousand times more messages cost smooth noise 5 bits, and uniform noise 10.

**Reference** Le Cam, Yang, Asymptotics in Statistics (2000), chapter 3, for affinities; the distance of each product:
protocols/he/budget.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from protocols.core.errors import BudgetSpent

RUN_BITS = 40
"""Over a whole run, all rounds, resumptions and tests, the distance is at most 2^-RUN_BITS in each direction."""

MARKS = 512
"""A budget that is kept outlives its process; it is written down in so many steps. One who resumes 256 times, which is
the most, loses half of its square."""


@dataclass(frozen=True)
class Distance:
    """Of one message, or of many together.

    Args:
        squares: the sum of 2 h^2.
        linear: the sum of statistical distances.
    """

    squares: float = 0.0
    linear: float = 0.0

    def __add__(self, other: Distance) -> Distance:
        return Distance(self.squares + other.squares, self.linear + other.linear)

    def __mul__(self, times: float) -> Distance:
        """Of so many messages like this one."""
        return Distance(self.squares * times, self.linear * times)

    @property
    def total(self) -> float:
        """Bound on the statistical distance."""
        return self.linear + math.sqrt(self.squares)

    @property
    def bits(self) -> float:
        """-log2 of the total: 40 and more is what a run promises. Infinite for nothing."""
        return -math.log2(self.total) if self.total else math.inf

    @property
    def fits(self) -> bool:
        """Whether a run may have it."""
        return self.total <= 2.0**-RUN_BITS

    def __str__(self) -> str:
        return f"2^-{self.bits:.1f}" if self.total else "0"


NOTHING = Distance()


class DistanceBudget:
    """What one party may still show another of its secrets in a run.

    What is spent stays spent, also over a crash: `keep` is told a mark ahead of what is used, and a resumed run starts
    from the last mark.

    Args:
        name: whose secret is shown to whom, for errors.
        spent: what the run has used before.
        keep: writes a mark down before anything beyond the last one is shown. Default: nothing outlives this object.
        one_at_a_time: a lock, where several threads spend (scheme "masked"): what two spend at once counts twice.
    """

    def __init__(
        self,
        name: str = "this layer",
        spent: Distance = NOTHING,
        keep: Callable[[Distance], None] | None = None,
        one_at_a_time: AbstractContextManager[object] | None = None,
    ) -> None:
        self._name, self._keep = name, keep
        self._one_at_a_time = nullcontext() if one_at_a_time is None else one_at_a_time
        self.spent = spent
        self._mark = spent

    def __repr__(self) -> str:
        return f"<DistanceBudget of {self._name}: {self.spent} of 2^-{RUN_BITS}>"

    def spend(self, distance: Distance) -> None:
        """One more message. Call it before the message is made.

        Raises:
            BudgetSpent: the run would be further from its ideal than it may be. Nothing is spent then.
        """
        with self._one_at_a_time:
            spent = self.spent + distance
            if not spent.fits:
                raise BudgetSpent(
                    f"{self._name}: the next message would bring the statistical distance of this run to {spent}, and "
                    f"2^-{RUN_BITS} is the most; this run has shown all that it may. Start one with fewer rounds or "
                    "batches, smaller batches or a narrower layer"
                )
            if self._keep is not None and not self._covers(spent):
                step = 2.0**-RUN_BITS
                # Linear parts add up outside of the root, where as long a step would cost too much.
                self._mark = spent + Distance(step**2 / MARKS, step / MARKS**2)
                self._keep(self._mark)
            self.spent = spent

    def _covers(self, spent: Distance) -> bool:
        return spent.squares <= self._mark.squares and spent.linear <= self._mark.linear
