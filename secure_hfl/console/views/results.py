"""What a task has left at this party: models, figures, a model card, TensorBoard's logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from secure_hfl.console.context import Context, context_of, task_of, words_of
from secure_hfl.console.downloads import attachment
from secure_hfl.console.figures import Figures, duration, percent
from secure_hfl.console.page import fragment, render_task
from secure_hfl.live.reader import story_of
from secure_hfl.metrics import RunMetrics
from secure_hfl.progress_file import NAME
from secure_hfl.supervision.tensorboard import TensorBoard
from secure_hfl.tasks import TaskRecord


@dataclass(frozen=True)
class Kept:
    """A file of the results. `kind`: one of those that the page has a sentence about."""

    name: str
    size: int
    kind: str


def results(request: Request) -> Response:
    """What there is."""
    context, record, words = context_of(request), task_of(request), words_of(request)
    directory = _directory(context, record)
    metrics = _metrics(directory)
    story = story_of(directory.parent / NAME)
    charts = fragment(request, "part_charts.html.j2", record=record, figures=Figures(story, words))
    board = TensorBoard(context.store, record.task_id)
    return render_task(
        request,
        "results.html.j2",
        metrics=metrics,
        accuracy=_accuracy(metrics),
        files=kept_in(directory),
        charts=charts,
        logs=board.logs if board.has_logs else None,
        board=board.address(),
        duration=lambda seconds: duration(words, seconds),
    )


def kept_in(directory: Path) -> list[Kept]:
    """The files that may be taken away. The last checkpoint is not: it holds a share, and a key."""
    kinds = (".safetensors", ".json")
    found = [path for path in sorted(directory.glob("*")) if path.suffix in kinds and _is_plain(path)]
    return [Kept(path.name, path.stat().st_size, path.name.partition(".")[0]) for path in found]


def file(request: Request) -> Response:
    """One of the files, to keep."""
    context, record = context_of(request), task_of(request)
    directory, name = _directory(context, record), request.path_params["name"]
    if name not in {each.name for each in kept_in(directory)}:
        raise HTTPException(404)
    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    return FileResponse(directory / name, media_type=kind, filename=name, content_disposition_type="attachment")


def card(request: Request) -> Response:
    """The model card, to keep: made anew, with an audit of the transcripts."""
    context, record, form = context_of(request), task_of(request), request.path_params["form"]
    if form not in ("html", "json"):
        raise HTTPException(404)
    text = context.apart(card_text, context.home, record.task_id, form)
    kind = "text/html; charset=utf-8" if form == "html" else "application/json"
    return attachment(text.encode(), f"model-card-{record.name}.{form}", kind)


def card_text(home: Path, task_id: str, form: str) -> str:
    """A model card as a page, or as JSON. Runs in a process of its own: it reads whole transcripts."""
    from secure_hfl.prediction.card import card_page, model_card
    from secure_hfl.tasks import TaskStore

    store = TaskStore(home)
    values = model_card(store, store.get(task_id))
    return card_page(values) if form == "html" else json.dumps(values, indent=1) + "\n"


def board(request: Request) -> Response:
    """Start or stop TensorBoard on this task's logs."""
    context, record = context_of(request), task_of(request)
    tensorboard = TensorBoard(context.store, record.task_id)
    if tensorboard.address():
        tensorboard.stop()
    else:
        tensorboard.start()
    return RedirectResponse(f"/tasks/{record.task_id}/results", 303)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _directory(context: Context, record: TaskRecord) -> Path:
    return context.store.directory(record.task_id) / "results"


def _metrics(directory: Path) -> RunMetrics | None:
    try:
        return RunMetrics.model_validate_json((directory / "metrics.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _accuracy(metrics: RunMetrics | None) -> str | None:
    known = [each.accuracy for each in metrics.rounds if each.accuracy is not None] if metrics else []
    return percent(known[-1]) if known else None


routes = [
    Route("/tasks/{task}/results", results, name="task.results"),
    Route("/tasks/{task}/results/files/{name}", file),
    Route("/tasks/{task}/results/card.{form}", card),
    Route("/tasks/{task}/results/board", board, methods=["POST"]),
]
