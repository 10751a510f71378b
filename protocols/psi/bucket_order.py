"""The order of PSI in buckets, as far as the two directions' own tables do not have it."""

from __future__ import annotations

from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.psi.bucket_messages import MAX_ATTEMPTS
from protocols.psi.buckets import Shape

H, C = Sender.HOST, Sender.COLLABORATOR


class BucketOrder:
    """From the first `PsiBuckets` on. `step` methods raise `MessageOutOfOrder`.

    Attributes:
        is_agreed: a cut has been taken.
        results: `PsiResult` messages that have come.
    """

    def __init__(self) -> None:
        self.is_agreed = False
        self.results = 0
        self._attempts = 0
        self._is_asked = False
        self._shape = Shape(0, 0, 0)
        self._host_done = self._to_run = 0
        self._opened = {H: 0, C: 0}

    @property
    def is_over(self) -> bool:
        """Whether all results are there."""
        return self.is_agreed and self.results == self._shape.buckets

    @property
    def are_all_opened(self) -> bool:
        """Whether no other bucket may be opened."""
        return self.is_agreed and all(count == self._to_run for count in self._opened.values())

    def propose(self, recorded: tuple[int, ...]) -> None:
        """A `PsiBuckets`."""
        *shape, done = recorded
        if self._is_asked or self.is_agreed or self._attempts == MAX_ATTEMPTS:
            raise MessageOutOfOrder("PsiBuckets of the host: the last ones are agreed on, or unanswered")
        self._shape, self._host_done, self._is_asked = Shape(*shape), done, True
        self._attempts += 1

    def take(self, recorded: tuple[int, ...]) -> None:
        """A `PsiBucketsTaken`."""
        fits, done = recorded
        if not self._is_asked or done > self._host_done:
            raise MessageOutOfOrder("PsiBucketsTaken of the collaborator: it answers no PsiBuckets")
        self._is_asked, self.is_agreed = False, bool(fits)
        self._to_run = self._shape.buckets - done

    def open(self, sender: Sender, size: int) -> None:
        """A bucket's `PsiOpen`."""
        name = f"PsiOpen of the {sender.role}"
        if not self.is_agreed or self._opened[sender] >= self._to_run or self.results:
            raise MessageOutOfOrder(f"{name}: no bucket is to be run")
        if size != self._shape.size(sender):
            raise MessageOutOfOrder(f"{name}: a bucket of {size} points, not of {self._shape.size(sender)}")
        self._opened[sender] += 1

    def has_opened(self, sender: Sender) -> bool:
        """Whether a party has opened a bucket."""
        return self._opened[sender] > 0

    def is_behind(self, sender: Sender) -> bool:
        """Whether the other party has opened more buckets than this one."""
        return self._opened[sender] < self._opened[sender.other]

    def check_chunk(self, sender: Sender, name: str) -> None:
        """A chunk of points or digests: it belongs to a bucket that its sender has opened."""
        if not self._opened[sender]:
            raise MessageOutOfOrder(f"{name}: it came before the first bucket")

    def result(self) -> None:
        """A `PsiResult`."""
        if not self.are_all_opened or self.is_over:
            raise MessageOutOfOrder("PsiResult of the host: not all buckets had been run, or it is one too many")
        self.results += 1
