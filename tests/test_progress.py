"""Progress of several tasks of one process, for programs and for a terminal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

from rich.console import Console

from secure_hfl.progress import Bars, JsonLines, OfTask


def test_progress_of_several_tasks_is_whole_lines(tmp_path: Path) -> None:
    with (tmp_path / "progress").open("w+b") as file:
        listener = JsonLines(file.fileno())

        def emit(task: str) -> None:
            for number in range(50):
                OfTask(listener, task).emit("round", round=number, long="x" * 10_000)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(emit, "abcd"))
        file.seek(0)
        events = [json.loads(line) for line in file]
    for task in "abcd":
        assert [event["round"] for event in events if event["task"] == task] == list(range(50))


def test_every_task_has_a_bar_of_its_own() -> None:
    screen = StringIO()
    bars = Bars(Console(file=screen, force_terminal=True, width=120))
    alpha, beta = OfTask(bars, "aaaaaaaaaa"), OfTask(bars, "bbbbbbbbbb")
    crossed = {"sent": 1, "received": 2}
    alpha.emit("phase", phase="psi", round=0)
    alpha.emit("psi", step="own points", done=1, total=2)
    beta.emit("phase", phase="train", round=3)
    beta.emit("batch", round=3, batch=1, batches=4, loss=0.5, **crossed)
    alpha.emit("psi_done")
    beta.emit("batch", round=3, batch=4, batches=4, loss=0.25, **crossed)
    beta.emit("end", ok=True)
    alpha.emit("phase", phase="test", round=1)
    alpha.emit("batch", round=1, batch=2, **crossed)
    alpha.emit("round", accuracy=None)
    for shown in ("aaaaaaaa: private set intersection", "bbbbbbbb: training, round 3", "aaaaaaaa: testing, round 1"):
        assert shown in screen.getvalue()
    assert "loss 0.2500" in screen.getvalue()
