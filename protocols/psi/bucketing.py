"""The two roles that agree on buckets (protocols/psi/bucket_messages.py has the diagram)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocols.core.errors import InvalidInput, MalformedMessage, RoleAlreadyUsed, WrongSession
from protocols.core.steps import Receive, Send, Steps, received
from protocols.psi.bucket_messages import MAX_ATTEMPTS, PsiBuckets, PsiBucketsTaken
from protocols.psi.buckets import Shape

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
        redraw: for a collaborator whose ids do not fit: another nonce at which the host's do.
    """

    def __init__(self, first: Cut, redraw: Callable[[], bytes]) -> None:
        self._cut, self._redraw = first, redraw
        self._has_run = False

    def run(self) -> Steps[Cut]:
        """Propose until the collaborator's ids fit. Raises `MalformedMessage`."""
        if self._has_run:
            raise RoleAlreadyUsed("the buckets have been agreed on before")
        self._has_run = True
        cut = self._cut
        shape = cut.shape
        for attempt in range(1, MAX_ATTEMPTS + 1):
            sizes = shape.buckets, shape.host_size, shape.collaborator_size
            yield Send(PsiBuckets(*sizes, cut.done, cut.nonce))
            answer = received((yield Receive(PsiBucketsTaken)), PsiBucketsTaken)
            if answer.fits:
                if answer.done > cut.done:
                    raise MalformedMessage(f"PsiBucketsTaken has {answer.done} buckets done, and we {cut.done}")
                return Cut(shape, cut.nonce, answer.done)
            if attempt < MAX_ATTEMPTS:
                cut = Cut(shape, self._redraw())
        raise MalformedMessage(
            f"the collaborator's ids fit none of {MAX_ATTEMPTS} random cuts; "
            "of ids as many as it has announced that is not to be expected once in 2^120 times"
        )


class CollaboratorBucketing:
    """The collaborator's role. One-shot.

    Args:
        expected: the shape that follows from both set sizes.
        kept: of an interrupted run; None: there was none.
        fits: cuts this party's ids.
    """

    def __init__(self, expected: Shape, kept: Cut | None, fits: Fits) -> None:
        self._expected, self._kept, self._fits = expected, kept, fits
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
        """The margins come out of logarithms, whose last digit may differ between two machines: a point, at most."""
        expected = self._expected
        sizes = ((shape.host_size, expected.host_size), (shape.collaborator_size, expected.collaborator_size))
        if shape.buckets != expected.buckets or any(abs(size - wanted) > 1 for size, wanted in sizes):
            raise WrongSession(
                f"the host wants {shape.buckets} buckets of {shape.host_size} and {shape.collaborator_size} points; "
                f"of sets like ours there are {expected.buckets} of {expected.host_size} and "
                f"{expected.collaborator_size}: run one version on both"
            )
