"""What a dry run finds, and what it cannot know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from protocols.core.errors import SecureHflError

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What one step of a dry run showed.

    Args:
        step: the user's method, mostly.
        status: "fail" if a real run would stop there.
        detail: for people.
        error: what stopped the dry run.
    """

    step: str
    status: Status
    detail: str
    error: SecureHflError | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Assumptions:
    """What a dry run cannot know.

    Args:
        peers: how wide the features of the other parties are, by feature key. For a Host; what is left out is taken
            from its `projection`, or made as wide as its own features.
        intersection: the ids that all parties hold; None: all of this party's own.
        batches: how many are drawn for training, and for testing.
        are_all_peers: there are no other collaborators than `peers`; a Host that asks for others is wrong.
    """

    peers: Mapping[str, int] = field(default_factory=dict)
    intersection: frozenset[str] | None = None
    batches: int = 3
    are_all_peers: bool = False


class Findings:
    """Where the steps of a dry run say what they have shown.

    Args:
        report: is told every finding as it is made.
    """

    def __init__(self, report: Callable[[Finding], None]) -> None:
        self._report = report
        self._stopped_by: SecureHflError | None = None
        self._added: set[Finding] = set()

    def add(self, step: str, status: Status, detail: str) -> None:
        """Report something that does not stop the dry run, once."""
        finding = Finding(step, status, detail)
        if finding not in self._added:
            self._added.add(finding)
            self._report(finding)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The block is this step: an error in it is reported before it goes on its way."""
        try:
            yield
        except SecureHflError as error:
            if error is not self._stopped_by:  # by a step within this one
                self._stopped_by = error
                self._report(Finding(name, "fail", str(error), error))
            raise
