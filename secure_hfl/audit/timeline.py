"""When in a run what crossed the wire, collected in bounded memory while a transcript is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from protocols.core.envelope import Phase

MAX_BINS = 64
MAX_SEGMENTS = 1000
"""Phases and rounds told apart; what comes after is counted in the last."""

MAX_SIGNED = 2 * MAX_SEGMENTS
_DIGITS = 19
_FIELDS = 8


@dataclass
class Bin:
    """Some lines in a row. `offline`: bytes of preparation, which are in the other two counts as well."""

    messages: int = 0
    from_host: int = 0
    from_collaborator: int = 0
    offline: int = 0

    def merged(self, other: Bin) -> Bin:
        """Both together."""
        return Bin(
            self.messages + other.messages,
            self.from_host + other.from_host,
            self.from_collaborator + other.from_collaborator,
            self.offline + other.offline,
        )


@dataclass
class Segment:
    """One phase, or one round of it, from `first` to `last` line of the file; `step` lines a bin."""

    phase: int
    round: int
    first: int
    last: int
    step: int = 1
    bins: list[Bin] = field(default_factory=list)

    def add(self, line: int, is_host: bool, length: int, is_offline: bool) -> None:
        """One message. Memory stays bounded: when there are too many bins, two become one."""
        while (line - self.first) // self.step >= MAX_BINS:
            self.bins = merge_pairs(self.bins)
            self.step *= 2
        at = (line - self.first) // self.step
        while len(self.bins) <= at:
            self.bins.append(Bin())
        self.last = line
        one = self.bins[at]
        one.messages += 1
        if is_host:
            one.from_host += length
        else:
            one.from_collaborator += length
        if is_offline:
            one.offline += length

    @property
    def total(self) -> Bin:
        """All bins together."""
        total = Bin()
        for each in self.bins:
            total = total.merged(each)
        return total


class Timeline:
    """What was where in a run's files, one after the other; their lines are counted through.

    It reads only what it draws, and judges nothing: lines that it cannot read are the auditor's to find.

    Attributes:
        lines: seen so far.
        begins: of each file, its name and how many lines there were before it.
        segments: phases and rounds, in order.
        signed: lines with a countersignature.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.begins: list[tuple[str, int]] = []
        self.segments: list[Segment] = []
        self.signed: list[int] = []

    def passing(self, lines: Iterable[bytes], name: str = "", first: int = 3) -> Iterator[bytes]:
        """The same lines of another file, taken note of; `first` is the number of the first one."""
        before = 0
        for number, line in enumerate(lines, first):
            if number == first + 1:  # all files are looked at before any is read
                before = self.lines
                self.begins.append((name, before))
            if number > first:
                self.add(before + number, line)
            yield line

    def add(self, number: int, line: bytes) -> None:
        """The file's next line, with its number from 1."""
        self.lines = number
        if line.startswith(b"countersignature ") and len(self.signed) < MAX_SIGNED:
            self.signed.append(number)
        if not line.startswith((b"e ", b"x ")):
            return
        fields = line.split(b" ", _FIELDS)
        numbers = fields[4:_FIELDS]
        if len(numbers) < 4 or not all(each.isdigit() and len(each) <= _DIGITS for each in numbers):
            return
        phase, round_number, _, length = map(int, numbers)
        if not self._segment(number, phase, round_number):
            return
        self.segments[-1].add(number, fields[1] == b"h", length, phase == Phase.OFFLINE)

    def _segment(self, number: int, phase: int, round_number: int) -> bool:
        """Make the last segment the one of this phase and round; False if there is none to count in."""
        begins = self.begins[-1][1] if self.begins else 0
        last = self.segments[-1] if self.segments and self.segments[-1].first > begins else None
        if last is not None and (phase == Phase.OFFLINE or (last.phase, last.round) == (phase, round_number)):
            return True
        if phase not in Phase.__members__.values():
            return False
        if len(self.segments) < MAX_SEGMENTS:
            self.segments.append(Segment(phase, round_number, number, number))
        return True


def merge_pairs(bins: list[Bin]) -> list[Bin]:
    """Half as many bins."""
    return [bins[at].merged(bins[at + 1]) if at + 1 < len(bins) else bins[at] for at in range(0, len(bins), 2)]
