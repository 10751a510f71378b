"""Numbers of a run as a person reads them: charts, and the tables of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from rich.filesize import decimal

from secure_hfl.console.words import Words
from secure_hfl.live.charts import Titles, bar_chart, line_chart, share_bar
from secure_hfl.live.story import RoundPoint, RunStory

WORK_GROUPS = {
    "own": ("bottom forward", "top", "backward and step"),
    "scheme": ("encrypt", "product", "decrypt", "scheme, other"),
    "messages": ("serialise", "transcript"),
    "wait": ("wait",),
    "other": ("other",),
}
"""What a party's time goes to, in five groups (secure_hfl/work_clock.py has the kinds)."""

MAX_LISTED = 100
"""Rounds in the table."""

MAX_DOTS = 60

_MINUTE, _HOUR = 60.0, 3600.0


class Figures:
    """Of one run.

    Args:
        story: the run's.
        words: in which language.
    """

    def __init__(self, story: RunStory, words: Words) -> None:
        self._story, self._t = story, words

    @property
    def rounds(self) -> list[RoundPoint]:
        """For the table, the first one first."""
        return list(self._story.by_round.values())

    @property
    def listed(self) -> list[RoundPoint]:
        """Those of the table: the last ones, the latest first."""
        return self.rounds[: -MAX_LISTED - 1 : -1]

    def last_losses(self) -> dict[int, str]:
        """By round."""
        return {point.round: f"{point.loss:.4g}" for point in self._story.losses}

    def loss(self) -> Markup | None:
        """Over the batches; None where this party learns none, or has none yet."""
        points = self._story.losses
        if not points:
            return None
        values = [point.loss for point in points]
        said = self._t("live.loss_desc", n=len(values), first=f"{values[0]:.4g}", last=f"{values[-1]:.4g}")
        axis = float(self._story.rounds or max(1, self._story.round))
        return line_chart(
            self._titles("loss", said), [(point.x, point.loss) for point in points], axis, "{:.3g}".format
        )

    def accuracy(self) -> Markup | None:
        """Of the tests."""
        points = [(float(point.round), point.accuracy) for point in self.rounds if point.accuracy is not None]
        if not points:
            return None
        said = self._t("live.accuracy_desc", n=len(points), last=percent(points[-1][1]))
        axis = float(self._story.rounds or max(1, self._story.round))
        has_dots = len(points) <= MAX_DOTS
        return line_chart(self._titles("accuracy", said), points, axis, "{:.0%}".format, has_dots, (0.0, 1.0))

    def seconds(self) -> Markup | None:
        """Training and test of each round."""
        if not self.rounds:
            return None
        bars = {point.round: (point.train_seconds, point.test_seconds or 0.0) for point in self.rounds}
        said = self._t("live.seconds_desc", last=f"{self.rounds[-1].seconds:.1f}")
        return bar_chart(self._titles("seconds", said), bars, self.kinds("train", "test"), "{:g} s".format)

    def bytes(self) -> Markup | None:
        """Sent and received in each round."""
        if not self.rounds:
            return None
        bars = {point.round: (float(point.sent), float(point.received)) for point in self.rounds}
        last = self.rounds[-1]
        said = self._t("live.bytes_desc", sent=decimal(last.sent), received=decimal(last.received))
        unit = _unit(max(sum(pair) for pair in bars.values()))
        return bar_chart(self._titles("bytes", said), bars, self.kinds("sent", "received"), _short_size, unit)

    def work(self) -> Markup | None:
        """Where the time of the training went."""
        shares = self.work_groups()
        if not shares:
            return None
        named = [(self._t(f"live.work_{name}"), seconds) for name, seconds, _ in shares]
        said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in named)
        titles = Titles("work", self._t("live.work"), said, "")
        return share_bar(titles, named, "{:.1f} s".format)

    def work_groups(self) -> list[tuple[str, float, float]]:
        """Name, seconds and share of each group."""
        total = self._story.total_work()
        whole = sum(total.values())
        if not whole:
            return []
        sums = {group: sum(total.get(kind, 0.0) for kind in kinds) for group, kinds in WORK_GROUPS.items()}
        return [(group, seconds, seconds / whole) for group, seconds in sums.items()]

    def kinds(self, *names: str) -> Sequence[str]:
        """What the colours of a bar are."""
        return [self._t(f"live.{name}") for name in names]

    def _titles(self, name: str, said: str) -> Titles:
        return Titles(name, self._t(f"live.{name}"), said, self._t("live.round"))


def percent(value: float) -> str:
    """With one digit, as accuracies are told."""
    return f"{value:.1%}"


def duration(words: Words, seconds: float) -> str:
    """For people: a part of a minute, minutes, or hours."""
    if seconds < _MINUTE:
        return words("live.seconds_long", n=max(1, round(seconds)))
    if seconds < _HOUR:
        return words("live.minutes_long", n=round(seconds / _MINUTE))
    return words("live.hours_long", h=int(seconds // _HOUR), m=round(seconds % _HOUR / _MINUTE))


def _unit(most: float) -> float:
    unit = 1.0
    while most >= 1000 * unit:
        unit *= 1000
    return unit


def _short_size(value: float) -> str:
    unit = _unit(value)
    name = {1.0: "B", 1e3: "kB", 1e6: "MB", 1e9: "GB"}.get(unit, "TB")
    return f"{value / (1e12 if name == 'TB' else unit):.3g} {name}" if value else "0"
