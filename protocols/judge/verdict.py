"""What a judge says, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(str, Enum):
    """Of one message."""

    CONSISTENT = "consistent"
    CONVICTS = "convicts"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """About one message, or about what it commits to.

    Attributes:
        message: its type.
        sender: the role that sent it.
        place: phase, round and batch, in words.
        convicted: the feature key of who cheated; empty unless `outcome` is CONVICTS.
        reason: why; for UNDECIDED, what is missing.
    """

    message: str
    sender: str
    place: str
    outcome: Outcome
    convicted: str = ""
    reason: str = ""

    def __str__(self) -> str:
        who = f" {self.convicted}" if self.convicted else ""
        because = f": {self.reason}" if self.reason else ""
        return f"{self.message} of the {self.sender}, {self.place}: {self.outcome.value}{who}{because}"


@dataclass(frozen=True)
class Refusal:
    """An opening that does not say what its party had signed: damaged, forged or false. It convicts nobody.

    Attributes:
        opening: the file.
        opener: the feature key it is said to be of; empty if the file does not say.
        is_false: whether that party has signed the file, which is not what it had committed to. Else the file is not
            from that party, or what was given does not go far enough to tell.
    """

    opening: str
    opener: str
    is_false: bool
    reason: str

    def __str__(self) -> str:
        who = f"{self.opener} has not opened what it signed" if self.is_false else "it shows nothing about anybody"
        return f"{self.opening} is refused ({who}): {self.reason}"


@dataclass(frozen=True)
class Judgement:
    """The whole of it.

    Attributes:
        task_id, round: what was judged.
        openers: feature keys whose openings hold.
        refused: openings that do not.
        verdicts: in the order of the messages.
    """

    task_id: str
    round: int
    openers: tuple[str, ...]
    refused: tuple[Refusal, ...]
    verdicts: tuple[Verdict, ...]

    def of(self, outcome: Outcome) -> tuple[Verdict, ...]:
        """Those of one kind."""
        return tuple(each for each in self.verdicts if each.outcome is outcome)

    @property
    def convicted(self) -> frozenset[str]:
        """Feature keys of who cheated."""
        return frozenset(each.convicted for each in self.of(Outcome.CONVICTS))

    @property
    def holds(self) -> bool:
        """Whether every message that was looked at is as it should be, and none was left undecided."""
        return (
            bool(self.verdicts)
            and not self.refused
            and all(each.outcome is Outcome.CONSISTENT for each in self.verdicts)
        )
