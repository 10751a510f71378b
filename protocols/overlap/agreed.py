"""How both parties begin: each says how many ids it has, how small a set it counts with, and what it rounds to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from protocols.core.errors import InvalidInput, MalformedMessage, MessageOutOfOrder, RoleAlreadyUsed, WrongSession
from protocols.core.steps import Receive, Send, Steps, received
from protocols.overlap.messages import OverlapDigests, OverlapOpen, OverlapPoints
from protocols.psi.ids import MAX_IDS
from protocols.psi.opening import check_opening
from protocols.psi.transitions import Stream

Chunked = TypeVar("Chunked", OverlapPoints, OverlapDigests)


@dataclass(frozen=True)
class Terms:
    """One operator's.

    Attributes:
        least: ids of either set; with fewer nothing is counted. A set of one id asks whether the other party holds it.
        round_to: the number is rounded down to a multiple of this; 1: it is told as it is.
    """

    least: int
    round_to: int = 1

    def __post_init__(self) -> None:
        for name in ("least", "round_to"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MAX_IDS:
                raise InvalidInput(f"{name} must be an integer from 1 to {MAX_IDS}, not {value!r}")

    def rounded(self, count: int) -> int:
        """What both learn of a count."""
        return count - count % self.round_to


class Opening:
    """One party's side. `run` once.

    Args:
        own: what this party says.
        max_peer_ids: how large the peer's set may be.
    """

    def __init__(self, own: OverlapOpen, max_peer_ids: int) -> None:
        self._own, self._max_peer_ids = own, max_peer_ids
        self._has_run = False

    def run(self) -> Steps[OverlapOpen]:
        """Say ours, hear the peer's. Raises as `check_opening`."""
        if self._has_run:
            raise RoleAlreadyUsed("an opening runs once, make a new one")
        self._has_run = True
        yield Send(self._own)
        message = received((yield Receive(OverlapOpen)), OverlapOpen)
        check_opening(message, self._own.pair, self._max_peer_ids)
        return message

    def admit(self, peer: OverlapOpen) -> None:
        """Go on only where both operators' terms hold. Raises `WrongSession`, at both parties with the same reason.

        Not a step of `run`, because neither side has broken the protocol: two operators have chosen differently.
        """
        rounds = sorted({self._own.round_to, peer.round_to})
        if len(rounds) > 1:
            raise WrongSession(
                f"round_to: one party rounds the number of common ids down to multiples of {rounds[0]}, the other of "
                f"{rounds[1]}; nothing was sent of any id. Say the same --round-to at both"
            )
        least, fewest = max(self._own.least, peer.least), min(self._own.set_size, peer.set_size)
        if fewest < least:
            raise WrongSession(
                f"min_ids: one party counts only where both sets have at least {least} ids, and one has {fewest}: so "
                "small a set asks whether its ids are in the other. Nothing was sent of any id"
            )


def in_turn(messages: Iterable[Chunked], stream: Stream) -> Iterator[Chunked]:
    """Chunks as they come.

    Raises:
        MessageOutOfOrder: one is missing, repeated or out of place.
        MalformedMessage: one is too short or too long for its place.
    """
    for message in messages:
        name = f"{type(message).__name__} {message.index}"
        if message.index != stream.next:
            raise MessageOutOfOrder(f"{name} came instead of {stream.next} of {stream.count}")
        if message.items != stream.size(message.index):
            raise MalformedMessage(f"{name} has {message.items} items, not {stream.size(message.index)}")
        stream.next += 1
        yield message
