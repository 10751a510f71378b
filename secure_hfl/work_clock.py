"""Where a party's rounds go: the time of one thread by kind of work, every moment counted once.

    with WorkClock() as clock:              one pass over the batches, in the thread that makes it
        with span("scheme, other"):         whoever does the work says so, and knows no clock
            with span("wait"): ...          taken off the work around it
    clock.seconds                           they add up to clock.total; what nobody named is "other"

A thread without a clock (the precomputation's, the offline phase's, gRPC's) pays for a look-up and is not counted;
while the clock's own thread waits for such threads, that is the time of the work it waits in.
"""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Literal, get_args

Work = Literal[
    "bottom forward",
    "top",
    "backward and step",
    "encrypt",
    "product",
    "decrypt",
    "scheme, other",
    "serialise",
    "transcript",
    "wait",
    "other",
]
"""What a party's main thread does in a round.

bottom forward: the user's iterator: data, and the bottom model's forward pass. top: `train_a_batch`. backward and step:
the bottom model's backward pass and all optimizers. encrypt, product, decrypt: the encryption scheme, on the spot.
scheme, other: what else a projection layer computes, such as the integer products of "masked". serialise: messages to
bytes and back. transcript: recording and signing. wait: for a message, for room to send, for masks. other: the rest,
such as checkpoints.
"""

WORK: tuple[Work, ...] = get_args(Work)


class WorkClock:
    """Counts the time of the thread that enters it, until that leaves it.

    Attributes:
        seconds: so far, by `Work`; what is under way is not in it yet.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(WORK, 0.0)
        self._work: Work = "other"
        self._since = 0.0
        self._outer: WorkClock | None = None

    def __enter__(self) -> WorkClock:
        self._outer, _here.clock = _here.clock, self
        self._since = perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.turn_to("other")
        _here.clock = self._outer

    @property
    def total(self) -> float:
        """Seconds from start to end."""
        return sum(self.seconds.values())

    def turn_to(self, work: Work) -> Work:
        """From now on, time is this work's; whose it was."""
        before, now = self._work, perf_counter()
        self.seconds[before] += now - self._since
        self._work, self._since = work, now
        return before


class _Here(threading.local):
    clock: WorkClock | None = None


_here = _Here()


class span:
    """Context manager: count the block as this work, if this thread has a clock. Not around a `yield`."""

    __slots__ = ("_around", "_clock", "_work")
    _around: Work

    def __init__(self, work: Work) -> None:
        self._work, self._clock = work, _here.clock

    def __enter__(self) -> None:
        if self._clock is not None:
            self._around = self._clock.turn_to(self._work)

    def __exit__(self, *exc: object) -> None:
        if self._clock is not None:
            self._clock.turn_to(self._around)
