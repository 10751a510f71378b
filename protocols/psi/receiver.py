"""The Host's role in ECDH-PSI: it learns the pairwise intersection, and later says what the final one is.

    Host (ids x, scalar h, order)                             Collaborator (ids y, scalar c, order)
    send()                  -- PsiOpen ------------------>
                            -- PsiPoints x n/chunk ------>    H(x)^h in the Host's order
    receive()               <- PsiOpen -------------------
                            <- PsiPoints x m/chunk -------    H(y)^c in the collaborator's order
                            <- PsiDigests x n/chunk ------    digest(H(x)^hc), in the Host's order
    intersection            digest(H(x)^hc) = digest(H(y)^ch)  where x = y
    tell(final)             -- PsiResult ---------------->

Security: semi-honest, under DDH on Curve25519 with SHAKE256 and SHA-256 as random oracles. A party that lies about its
set (adds guesses to it) learns whether the guesses are members: no PSI prevents that.

**Leaks**: to the Host: the collaborator's set size and the pairwise intersection. To the collaborator: the Host's set
size and the final intersection.

Reference: Meadows 1986; Huberman, Franklin, Hogg 1999; De Cristofaro, Tsudik 2010 (semi-honest analysis).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from protocols.core.errors import CallOutOfOrder, InvalidInput
from protocols.core.steps import ReceiveMany, Send, Steps, received_many
from protocols.psi.comparison import Comparison, Matches
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.role import Role
from protocols.psi.transitions import COLLABORATOR_SENDS, HOST_SENDS, State


class PsiReceiver(Role):
    """The Host's side of one run with one collaborator. One-shot; arguments as `Role`.

    Two threads may drive it at once: one `send`, the other `receive`. They share nothing that changes. `tell` comes
    after both have ended.
    """

    _sends = HOST_SENDS
    _receives = COLLABORATOR_SENDS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._compared = Comparison()

    def hear(self) -> Steps[Matches]:
        """`receive`, without naming what is found. Errors as `receive`."""
        chunks = yield from self._hear_open()
        self.receive_points(received_many((yield ReceiveMany(PsiPoints, chunks)), PsiPoints))
        self.receive_digests(received_many((yield ReceiveMany(PsiDigests, self._own.stream.count)), PsiDigests))
        return self.matches()

    def receive(self) -> Steps[frozenset[str]]:
        """Raise the collaborator's points to our scalar as they come, take its digests of ours; `intersection()`.

        Raises:
            MessageOutOfOrder, MalformedMessage, InvalidPoint, WrongSession: what the collaborator sent is wrong.
        """
        yield from self.hear()
        return self.intersection()

    def tell(self, final: Collection[str]) -> Steps[None]:
        """Tell the collaborator which ids all parties share. As `result`."""
        yield Send(self.result(final))

    def receive_open(self, message: PsiOpen) -> None:
        super().receive_open(message)
        self._received.plan(PsiDigests, self._own.stream)

    def receive_points(self, messages: Iterable[PsiPoints]) -> None:
        """Raise the collaborator's points to our scalar. Takes messages up to the last chunk, and none after it.

        May be called several times with the parts of the stream. Work on a chunk starts when it arrives.

        Raises:
            MessageOutOfOrder: a chunk is missing, repeated or out of place.
            MalformedMessage: a chunk is too short or too long for its place.
            InvalidPoint: a point is not canonical or has low order; names the chunk and the position in it.
        """
        with self._received.to_blame():
            for reply in self._own.raised(self._received.accept_all(messages, PsiPoints)):
                self._compared.theirs.append(reply.digests)

    def receive_digests(self, messages: Iterable[PsiDigests]) -> None:
        """Take the collaborator's digests of our points, up to the last chunk. Errors as `receive_points`."""
        for message in self._received.accept_all(messages, PsiDigests):
            self._compared.ours.append(message.digests)

    def matches(self) -> Matches:
        """Which of our ids the collaborator has too, and where in its secret order.

        Raises:
            CallOutOfOrder: digests are still to come.
            MalformedMessage: the collaborator's points or digests repeat, so its set is not one.
        """
        if self._received.state is not State.DIGESTS or not self._received.complete(PsiDigests):
            raise CallOutOfOrder(f"there is no intersection in state {self._received.state.name}: receive all digests")
        with self._received.to_blame():
            return self._compared.matches(self._own.order, len(self._own.ids))

    def intersection(self) -> frozenset[str]:
        """The ids, as this party writes them, that the collaborator has too; may be empty. Errors as `matches`."""
        return self._own.named(self.matches().positions)

    def result(self, final: Collection[str]) -> PsiResult:
        """Tell the collaborator which ids all parties share. Once.

        Args:
            final: a subset of `intersection()`, in the spelling found there.

        Raises:
            InvalidInput: `final` has ids outside of the pairwise intersection; says how many.
        """
        positions, slots = self.matches()
        wanted = frozenset(final)
        found = map(self._own.ids.__getitem__, positions.tolist())
        kept = np.fromiter(map(wanted.__contains__, found), np.bool_, len(positions))
        count = int(kept.sum())
        if count != len(wanted):
            raise InvalidInput(f"{len(wanted) - count} of {len(wanted)} final ids are not in the pairwise intersection")
        self._sent.claim(PsiResult, "result")
        self._sent.step(PsiResult, "result")
        return PsiResult.marking(slots[kept], self.peer_size)
