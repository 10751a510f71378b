"""The two roles that agree on buckets (protocols/psi/bucket_messages.py has the diagram)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocols.core.errors import InvalidInput, MalformedMessage, RoleAlreadyUsed, WrongSession
from protocols.core.steps import Receive, Send, Steps, received
from protocols.psi.bucket_messages import MAX_ATTEMPTS, PsiBuckets, PsiBucketsTaken
from protocols.psi.buckets import MAX_BUCKETS, Shape, bucket_count, shape_of

Fits = Callable[[bytes, Shape], bool]
"""(nonce, shape) -> whether this party's ids fit such buckets; it cuts them meanwhile."""


@dataclass(frozen=True)
class Cut:
    """What both have agreed on.

    Attributes:
        shape: of the buckets.
        nonce: the key's.
        done: buckets that both have behind them, the first ones.
    """

    shape: Shape
    nonce: bytes
    done: int = 0


class HostBucketing:
    """The host's role with one collaborator. One-shot.

    Args:
        first: what is proposed first, and how far the host is with it.
        fits: cuts the host's ids, while the collaborator cuts its own.
        redraw: another nonce, where the collaborator's ids do not fit.
    """

    def __init__(self, first: Cut, fits: Fits, redraw: Callable[[], bytes]) -> None:
        self._cut, self._fits, self._redraw = first, fits, redraw
        self._has_run = False

    def run(self) -> Steps[Cut]:
        """Propose until the collaborator's ids fit.

        Raises:
            InvalidInput: our own do not, as happens once in 2^41 times; nothing of them was sent.
            MalformedMessage: the collaborator's never do, or it has more behind it than we have.
        """
        if self._has_run:
            raise RoleAlreadyUsed("the buckets have been agreed on before")
        self._has_run = True
        cut = self._cut
        shape = cut.shape
        for attempt in range(1, MAX_ATTEMPTS + 1):
            sizes = shape.buckets, shape.host_size, shape.collaborator_size
            yield Send(PsiBuckets(*sizes, cut.done, cut.nonce))
            if not self._fits(cut.nonce, shape):
                raise InvalidInput(
                    "the ids did not fit a random cut, which is bad luck once in 2^41 times: start again"
                )
            answer = received((yield Receive(PsiBucketsTaken)), PsiBucketsTaken)
            if answer.fits:
                if answer.done > cut.done:
                    raise MalformedMessage(f"PsiBucketsTaken has {answer.done} buckets done, and we {cut.done}")
                return Cut(shape, cut.nonce, answer.done)
            if attempt < MAX_ATTEMPTS:
                cut = Cut(shape, self._redraw())
        raise MalformedMessage(
            f"the collaborator's ids fit none of {MAX_ATTEMPTS} random cuts, which by chance happens less than once in "
            "2^120 times: it has more than it announced"
        )


class CollaboratorBucketing:
    """The collaborator's role. One-shot.

    Args:
        host_ids, own_ids: how many both have.
        kept: of an interrupted run; None: there was none.
        fits: cuts this party's ids.
    """

    def __init__(self, host_ids: int, own_ids: int, kept: Cut | None, fits: Fits) -> None:
        self._host_ids, self._own_ids = host_ids, own_ids
        self._kept, self._fits = kept, fits
        self._has_run = False

    def run(self) -> Steps[Cut]:
        """Take a cut at which our ids fit.

        Raises:
            WrongSession: the shape is another one than follows from the sizes.
            InvalidInput: our ids fit no cut, which does not happen by chance.
        """
        if self._has_run:
            raise RoleAlreadyUsed("the buckets have been agreed on before")
        self._has_run = True
        for _ in range(MAX_ATTEMPTS):
            message = received((yield Receive(PsiBuckets)), PsiBuckets)
            shape = Shape(message.buckets, message.host_size, message.collaborator_size)
            self._check(shape)
            kept = self._kept
            if kept is not None and (kept.shape, kept.nonce) == (shape, message.nonce):
                done = min(kept.done, message.done)
                yield Send(PsiBucketsTaken(True, done))
                return Cut(shape, message.nonce, done)
            fits = self._fits(message.nonce, shape)
            yield Send(PsiBucketsTaken(fits, 0))
            if fits:
                return Cut(shape, message.nonce)
        raise InvalidInput(f"this party's ids fit none of {MAX_ATTEMPTS} random cuts, which random ones always do")

    def _check(self, shape: Shape) -> None:
        """More buckets than two need are another collaborator's, with more ids.

        The margins come out of logarithms, whose last digit may differ between two machines: a point, at most.
        """
        least = bucket_count(max(self._host_ids, self._own_ids))
        if not least <= shape.buckets <= max(least, MAX_BUCKETS):
            raise WrongSession(f"the host wants {shape.buckets} buckets, where there are {least} to {MAX_BUCKETS}")
        expected = shape_of(self._host_ids, self._own_ids, shape.buckets)
        sizes = ((shape.host_size, expected.host_size), (shape.collaborator_size, expected.collaborator_size))
        if any(abs(size - wanted) > 1 for size, wanted in sizes):
            raise WrongSession(
                f"the host wants buckets of {shape.host_size} and {shape.collaborator_size} points; sets like ours "
                f"have {expected.host_size} and {expected.collaborator_size}: run one version on both"
            )
