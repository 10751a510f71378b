"""How many messages of each of a channel's two lanes have come: preparation (Phase.OFFLINE), and everything else.

A thread of one lane waits for messages of its own, and reads when one has come: no thread is woken for the other, nor
waits until one that gives way to it has had its turn.
"""

from __future__ import annotations

from collections.abc import Callable

from protocols.core.envelope import Phase
from protocols.wire.codec import peek_phase
from protocols.wire.varint import Buffer
from secure_hfl.transport.channel_state import ChannelState
from secure_hfl.work_clock import span


class Arrivals:
    """Of one channel. Whoever calls holds the state's lock.

    Args:
        state: of the channel.
        is_full: whether something is to be received before more comes.
    """

    def __init__(self, state: ChannelState, is_full: Callable[[], bool]) -> None:
        self._state, self._is_full = state, is_full
        self._counts = {False: 0, True: 0}
        self._changed = {is_offline: state.condition() for is_offline in self._counts}

    @property
    def total(self) -> int:
        """Of both lanes."""
        return sum(self._counts.values())

    def count(self, data: Buffer) -> None:
        """One more has come."""
        is_offline = peek_phase(data) == Phase.OFFLINE
        self._counts[is_offline] += 1
        if self._is_full():
            self.make_room()
        else:
            self._changed[is_offline].notify()

    def make_room(self) -> None:
        """Something must be received before more can come: whoever waits looks again."""
        for changed in self._changed.values():
            changed.notify()

    def wait_for_more(self, is_offline: bool, than: int, timeout: float | None) -> bool:
        """See `Channel.wait_for_arrival`."""
        counts, state = self._counts, self._state

        def is_worth_reading() -> bool:
            return counts[is_offline] > than or state.is_over() or self._is_full()

        if is_worth_reading():
            return True
        with span("wait"):
            return self._changed[is_offline].wait_for(is_worth_reading, timeout)
