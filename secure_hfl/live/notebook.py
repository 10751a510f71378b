"""A run as it happens, below the cell that launched it: plain HTML, no widget, nothing to install or to trust.

A notebook keeps the last picture, so it also shows afterwards how the run went.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.filesize import decimal

from protocols.core.wording import plural
from secure_hfl.live.charts import Titles, line_chart
from secure_hfl.live.story import STEPS, RunStory
from secure_hfl.pages import templates_in
from secure_hfl.progress_view import PHASES

INTERVAL = 0.5
"""Seconds between two pictures; what is rare is shown at once."""

_STEP_NAMES = dict(zip(STEPS, ("data check", "waiting for the parties", "intersection", "training", "finished")))
_TEMPLATES = templates_in(Path(__file__).parent)

Show = Callable[[str], None]
"""Draws HTML in place of what was drawn before."""


class NotebookView:
    """A listener (secure_hfl/progress.py) that draws every task of the process below the cell that runs.

    Args:
        open_display: makes a place below the cell, and gives what draws there.
        clock: seconds.
    """

    def __init__(self, open_display: Callable[[], Show], clock: Callable[[], float] = time.time) -> None:
        self._open_display, self._clock = open_display, clock
        self._stories: dict[str, RunStory] = {}
        self._shows: dict[str, Show] = {}
        self._drawn = 0.0
        self._lock = threading.Lock()

    def emit(self, event: str, **values: Any) -> None:
        """Follow one event. What cannot be drawn never disturbs the run."""
        now, task = self._clock(), values.get("task", "")
        with self._lock:
            if task not in self._stories:
                self._stories[task], self._shows[task] = RunStory(began_at=now), self._open_display()
            story = self._stories[task]
            story.take({"event": event, "at": now, **values})
            if event in ("batch", "psi") and now - self._drawn < INTERVAL:
                return
            self._drawn = now
            self._shows[task](picture(story, task))
            if event == "end":
                del self._stories[task], self._shows[task]


def picture(story: RunStory, task: str = "") -> str:
    """A run in HTML. Names and reasons in it are text, whatever they are."""
    left = story.remaining()
    return _TEMPLATES.get_template("notebook.html.j2").render(
        story=story,
        task=task,
        steps=[(name, _STEP_NAMES[name]) for name in STEPS],
        at=len(STEPS) if story.ended == "ok" else STEPS.index(story.step) if story.step else 0,
        phase=PHASES.get(story.phase, story.phase or "starting"),
        seconds=max(0.0, story.last_at - story.began_at),
        left="" if left is None else f"about {left:.0f} s left",
        sent=decimal(story.crossed[0]),
        received=decimal(story.crossed[1]),
        charts=_charts(story),
    )


def _charts(story: RunStory) -> list[tuple[str, Markup]]:
    rounds = float(story.rounds or max(1, story.round))
    charts = []
    if len(story.losses) > 1:
        points = [(point.x, point.loss) for point in story.losses]
        titles = Titles(
            "loss", "Loss", f"the loss of {plural(len(points), 'batch')}, now {points[-1][1]:.4f}", "rounds"
        )
        charts.append((titles.title, line_chart(titles, points, rounds, "{:.3g}".format)))
    tested = [(float(point.round), point.accuracy) for point in story.by_round.values() if point.accuracy is not None]
    if tested:
        text = f"the accuracy after {plural(len(tested), 'round')}, now {tested[-1][1]:.4f}"
        titles = Titles("accuracy", "Accuracy", text, "rounds")
        charts.append((titles.title, line_chart(titles, tested, rounds, "{:.3g}".format, has_dots=True)))
    return charts


def display_of_kernel() -> Callable[[], Show] | None:
    """How this process draws below a cell; None: it is not a notebook's kernel."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import HTML, display

    def opened() -> Show:
        handle = display(HTML(""), display_id=True)
        return lambda html: handle.update(HTML(html))

    return opened
