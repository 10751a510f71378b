"""The collaborator's role in ECDH-PSI: it lets the Host find the intersection, and learns the final one.

    Collaborator (ids y, scalar c, order)                     Host (ids x, scalar h, order)
    send()                  -- PsiOpen ------------------>
                            -- PsiPoints x m/chunk ------>    raises them to h
    answer()                <- PsiOpen -------------------
                            <- PsiPoints x n/chunk -------
                            -- PsiDigests x n/chunk ----->    compares
    learn()                 <- PsiResult -----------------    tell(final)

**Leaks**: as protocols/psi/receiver.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import MessageOutOfOrder
from protocols.core.steps import Receive, ReceiveMany, Send, Steps, received, received_many
from protocols.psi.messages import PsiDigests, PsiPoints, PsiResult
from protocols.psi.role import Role
from protocols.psi.transitions import COLLABORATOR_SENDS, HOST_SENDS, Stream


class PsiSender(Role):
    """The collaborator's side of one run. One-shot; arguments as `Role`.

    `answer` comes after `send`: what arrives before waits in the channel.
    """

    _sends = COLLABORATOR_SENDS
    _receives = HOST_SENDS

    def answer(self) -> Steps[None]:
        """Raise the Host's points to our scalar as they come, and send the digests. Errors as `replies`."""
        chunks = yield from self._hear_open()
        for reply in self.replies(received_many((yield ReceiveMany(PsiPoints, chunks)), PsiPoints)):
            yield Send(reply)

    def learn(self) -> Steps[frozenset[str]]:
        """The ids, as this party writes them, that all parties share; may be empty. Errors as `receive_result`."""
        return self.receive_result(received((yield Receive(PsiResult)), PsiResult))

    def replies(self, messages: Iterable[PsiPoints]) -> Iterator[PsiDigests]:
        """Raise the Host's points to our scalar; one reply for each chunk, in order.

        Takes messages up to the last chunk, and none after it; may be called several times with the parts of the
        stream. Replies may be sent only after the last of `masked_points`.

        Raises:
            CallOutOfOrder: own points are still to be sent.
            MessageOutOfOrder: a chunk is missing, repeated or out of place.
            MalformedMessage: a chunk is too short or too long for its place.
            InvalidPoint: a point is not canonical or has low order; names the chunk and the position in it.
        """
        with self._received.to_blame():
            for reply in self._own.raised(self._received.accept_all(messages, PsiPoints)):
                if reply.index == 0 and self._peer:  # the Host's size is known; planned in the thread that sends
                    self._sent.plan(PsiDigests, Stream(self._peer.items, self._peer.chunk))
                self._sent.step(PsiDigests, "replies")
                yield reply

    def receive_result(self, message: PsiResult) -> frozenset[str]:
        """The ids, as this party writes them, that all parties share; may be empty.

        Raises:
            MessageOutOfOrder: it is not the result, or comes before all digests have been sent.
            MalformedMessage: its bits do not fit this party's set.
        """
        with self._received.to_blame():
            if not self._sent.complete(PsiDigests):
                raise MessageOutOfOrder(f"{type(message).__name__} came before all digests were sent")
            self._received.accept(message, PsiResult)
            slots = message.slots(self._own.size, min(self._own.size, self.peer_size))
        return self._own.named(np.sort(self._own.order[slots]))  # as ids lie in memory: read faster so

    @property
    def order(self) -> NDArray[np.int64]:
        """Secret: where in the own ids each point stands, for a result that is read later."""
        return self._own.order
