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
from functools import partial

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, InvalidInput, MalformedMessage
from protocols.core.steps import ReceiveMany, Send, Steps, received_many
from protocols.psi.curve import raise_points
from protocols.psi.messages import DIGEST_BYTES, PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.role import Role
from protocols.psi.transitions import COLLABORATOR_SENDS, HOST_SENDS, State, Stream


class PsiReceiver(Role):
    """The Host's side of one run with one collaborator. One-shot; arguments as `Role`.

    Two threads may drive it at once: one `send`, the other `receive`. They share nothing that changes. `tell` comes
    after both have ended.
    """

    _sends = HOST_SENDS
    _receives = COLLABORATOR_SENDS

    def receive(self) -> Steps[frozenset[str]]:
        """Raise the collaborator's points to our scalar as they come, take its digests of ours; `intersection()`.

        Raises:
            MessageOutOfOrder, MalformedMessage, InvalidPoint, WrongSession: what the collaborator sent is wrong.
        """
        chunks = yield from self._hear_open()
        self.receive_points(received_many((yield ReceiveMany(PsiPoints, chunks)), PsiPoints))
        own = Stream(len(self._ids), self._chunk).count
        self.receive_digests(received_many((yield ReceiveMany(PsiDigests, own)), PsiDigests))
        return self.intersection()

    def tell(self, final: Collection[str]) -> Steps[None]:
        """Tell the collaborator which ids all parties share. As `result`."""
        yield Send(self.result(final))

    def receive_open(self, message: PsiOpen) -> None:
        super().receive_open(message)
        self._received.plan(PsiDigests, Stream(len(self._ids), self._chunk))
        self._theirs: list[bytes] = []  # digests of the collaborator's points, in its order
        self._ours: list[bytes] = []  # digests of our points, in our order
        self._pairs: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def receive_points(self, messages: Iterable[PsiPoints]) -> None:
        """Raise the collaborator's points to our scalar. Takes messages up to the last chunk, and none after it.

        May be called several times with the parts of the stream. Work on a chunk starts when it arrives.

        Raises:
            MessageOutOfOrder: a chunk is missing, repeated or out of place.
            MalformedMessage: a chunk is too short or too long for its place.
            InvalidPoint: a point is not canonical or has low order; names the chunk and the position in it.
        """
        with self._peer_to_blame():
            work = partial(raise_points, self._pair, self._scalar)
            for reply in self._mapper(work, self._accept_all(messages, PsiPoints)):
                self._theirs.append(reply.digests)

    def receive_digests(self, messages: Iterable[PsiDigests]) -> None:
        """Take the collaborator's digests of our points, up to the last chunk. Errors as `receive_points`."""
        for message in self._accept_all(messages, PsiDigests):
            self._ours.append(message.digests)

    def intersection(self) -> frozenset[str]:
        """The ids, as this party writes them, that the collaborator has too; may be empty.

        Raises:
            CallOutOfOrder: digests are still to come.
            MalformedMessage: the collaborator's points or digests repeat, so its set is not one.
        """
        positions, _ = self._matches()
        return frozenset(map(self._ids.__getitem__, positions.tolist()))

    def result(self, final: Collection[str]) -> PsiResult:
        """Tell the collaborator which ids all parties share. Once.

        Args:
            final: a subset of `intersection()`, in the spelling found there.

        Raises:
            InvalidInput: `final` has ids outside of the pairwise intersection; says how many.
        """
        positions, theirs = self._matches()
        wanted = frozenset(final)
        found = map(self._ids.__getitem__, positions.tolist())
        kept = np.fromiter(map(wanted.__contains__, found), np.bool_, len(positions))
        count = int(kept.sum())
        if count != len(wanted):
            raise InvalidInput(f"{len(wanted) - count} of {len(wanted)} final ids are not in the pairwise intersection")
        self._sent.claim(PsiResult, "result")
        self._sent.step(PsiResult, "result")
        bits = np.zeros(self._peer_size, dtype=np.bool_)
        bits[theirs[kept]] = True
        return PsiResult(np.packbits(bits, bitorder="little").tobytes(), count)

    def _matches(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions in our ids and in the collaborator's shuffled list, pairwise equal."""
        if self._received.state is not State.DIGESTS or not self._received.complete(PsiDigests):
            raise CallOutOfOrder(f"there is no intersection in state {self._received.state.name}: receive all digests")
        if self._pairs is None:
            with self._peer_to_blame():
                ours, theirs = match(self._ours, self._theirs)
            positions = self._order[ours]
            in_memory = np.argsort(positions)  # ids are read several times faster in the order in which they lie there
            self._pairs = positions[in_memory], theirs[in_memory]
            self._ours, self._theirs = [], []
        return self._pairs


def match(ours: list[bytes], theirs: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (i, j) of equal 16-byte digests, ours[i] = theirs[j], in two lists of chunks of digests.

    Sorts both together by half of each digest, and by all of it only where that leaves a doubt: about 50 bytes of
    memory a digest, and no Python object for any. Digests here are not authenticators: what they tell is the result
    itself, so the comparison need not take constant time.

    Raises:
        MalformedMessage: one of the lists repeats a digest.
    """
    split = sum(map(len, ours)) // DIGEST_BYTES
    chunks = [np.frombuffer(chunk, "<u8") for chunk in (*ours, *theirs)]
    low, high = np.concatenate([words[0::2] for words in chunks]), np.concatenate([words[1::2] for words in chunks])
    order = np.argsort(low)
    same_low = _equal_neighbours(low[order])
    same = same_low & _equal_neighbours(high[order])
    if (same_low != same).any() or (same[1:] & same[:-1]).any():  # other halves differ, or more than two are equal
        order = np.lexsort((high, low))
        same = _equal_neighbours(low[order]) & _equal_neighbours(high[order])
    equal = np.flatnonzero(same)
    pairs = np.stack((order[equal], order[equal + 1]))
    first, second = pairs.min(axis=0), pairs.max(axis=0)  # ours come before theirs
    for which, repeats in (("digests", second < split), ("points", first >= split)):
        if repeats.any():
            raise MalformedMessage(f"{int(repeats.sum())} of the collaborator's {which} repeat; a set has no repeats")
    return first, second - split


def _equal_neighbours(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which value equals the one after it."""
    equal: NDArray[np.bool_] = values[1:] == values[:-1]
    return equal
