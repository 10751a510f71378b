"""Below a notebook's cell: the run as it stands, drawn again now and then, whatever names and reasons are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from secure_hfl.live.notebook import NotebookView
from secure_hfl.progress import progress_for


class Screen:
    """What is drawn, place by place."""

    def __init__(self) -> None:
        self.places: list[list[str]] = []

    def open(self) -> Any:
        """A place."""
        self.places.append([])
        return self.places[-1].append


def run(view: NotebookView, **values: Any) -> None:
    view.emit("phase", phase="join", round=0, **values)
    view.emit("peer", name="<b>clinic</b>", is_here=True, **values)
    view.emit("plan", rounds=2, batches=100, train=1000, test=0, peers=["<b>clinic</b>"], **values)
    view.emit("phase", phase="train", round=1, **values)
    for batch in range(1, 101):
        view.emit("batch", round=1, batch=batch, batches=100, loss=1 / batch, sent=batch, received=2, work={}, **values)
    view.emit("end", ok=False, reason="clinic <script>left</script>", **values)


def ticking(step: float) -> Any:
    times: Iterator[float] = (1000.0 + step * each for each in count())
    return lambda: next(times)


def test_it_draws_twice_a_second_and_what_is_rare_at_once() -> None:
    screen = Screen()
    run(NotebookView(screen.open, ticking(0.1)))
    (drawn,) = screen.places
    assert len(drawn) == 4 + 100 * 0.1 / 0.5 + 1
    assert "<svg" in drawn[-1]
    assert "round 1 of 2, batch 100 of 100" in drawn[-1]
    assert 'value="0.5000"' in drawn[-1]


def test_names_and_reasons_are_text() -> None:
    screen = Screen()
    run(NotebookView(screen.open, ticking(1)))
    shown = "".join(screen.places[0])
    assert "<script>" not in shown
    assert "<b>clinic" not in shown
    assert "&lt;script&gt;left" in shown


def test_every_task_and_every_run_of_a_cell_has_a_place_of_its_own() -> None:
    screen = Screen()
    view = NotebookView(screen.open, ticking(1))
    run(view, task="a" * 20)
    run(view, task="b" * 20)
    run(view, task="a" * 20)
    assert len(screen.places) == 3
    assert "a" * 20 in screen.places[2][-1]


def test_outside_of_a_notebook_nothing_is_drawn() -> None:
    assert not isinstance(progress_for(None), NotebookView)
