"""`secure-hfl evaluate SCRIPT` and `secure-hfl card TASK`: how good a finished task predicts, and all about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secure_hfl.cli.output import console, plain, table
from secure_hfl.cli.predict import Ids, Task, run_in_place_of_training
from secure_hfl.cli.run import Script, Traceback

if TYPE_CHECKING:  # it imports torch
    from secure_hfl.prediction.evaluation import Evaluation, NumberEvaluation

JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", dir_okay=False, help="Write the figures here.")
]
Page = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", dir_okay=False, help="Write a page with plots here.")
]
Plots = Annotated[
    Path | None,
    typer.Option("--plots", metavar="DIRECTORY", file_okay=False, help="Write the plots here, as SVG and PNG."),
]
Reference = Annotated[str, typer.Argument(metavar="TASK", help="A finished task: id, its first characters, or name.")]
CardFile = Annotated[
    Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="The card to write: .json or .html.")
]
Figures = Annotated[
    Path | None,
    typer.Option("--evaluation", metavar="FILE", exists=True, dir_okay=False, help="What `evaluate --json` wrote."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(help="Predict samples whose labels the Host has, and say how good that is. Collaborators must serve.")(
        evaluate
    )
    app.command(help="Write the model card of a finished task: parties, protection, checks, accuracy, transcripts.")(
        card
    )


def evaluate(
    script: Script,
    ids: Ids,
    task: Task = None,
    json_file: JsonFile = None,
    html: Page = None,
    plots: Plots = None,
    show_traceback: Traceback = False,
) -> None:
    """Accuracy, AUC, confusion and calibration."""
    from secure_hfl.bench.report.svg import require_matplotlib
    from secure_hfl.files import check_writable
    from secure_hfl.prediction.alone import evaluated
    from secure_hfl.prediction.evaluation import check_torchmetrics
    from secure_hfl.prediction.evaluation_page import evaluation_page
    from secure_hfl.prediction.id_files import read_ids
    from secure_hfl.schedulers.host import HeteroNNHostScheduler

    check_torchmetrics()
    check_writable(json_file, html)
    if html is not None or plots is not None:
        require_matplotlib()
    wanted = read_ids(ids)

    def run(scheduler: Any, reference: str) -> None:
        found = scheduler.predict(wanted, reference)
        figures = evaluated(scheduler, reference, found)
        _show_figures(figures, found.classes or ())
        if json_file is not None:
            _write(json_file, figures.model_dump_json(indent=1))
        if html is not None:
            _write(html, evaluation_page(scheduler.task_id, figures, found.classes or ()))
        if plots is not None:
            _draw(figures, found.classes or (), plots)

    run_in_place_of_training(script, HeteroNNHostScheduler, "evaluate", run, task, show_traceback)


def _show_figures(figures: Evaluation | NumberEvaluation, classes: Sequence[str]) -> None:
    from secure_hfl.prediction.evaluation import Evaluation, shown_figures
    from secure_hfl.prediction.evaluation_page import class_names

    _show(shown_figures(figures))
    if isinstance(figures, Evaluation):
        names = class_names(figures, classes)
        counts = table("True class", *(f"as {name}" for name in names))
        for name, row in zip(names, figures.confusion):
            counts.add_row(plain(name), *map(str, row))
        console().print(counts)


def _show(figures: dict[str, str]) -> None:
    grid = table("", "", header=False)
    for name, value in figures.items():
        grid.add_row(name, plain(value))
    console().print(grid)


def _draw(figures: Evaluation | NumberEvaluation, classes: Sequence[str], directory: Path) -> None:
    from secure_hfl.errors import ConfigurationError
    from secure_hfl.prediction.evaluation import Evaluation
    from secure_hfl.prediction.evaluation_page import class_names
    from secure_hfl.prediction.plots import plots_of, write_plots

    if not isinstance(figures, Evaluation):
        raise ConfigurationError("--plots are of classes, and the task predicts a number")
    for path in write_plots(plots_of(figures, class_names(figures, classes)), directory):
        console().print(plain(f"Written: {path}"))


def card(reference: Reference, out: CardFile, evaluation: Figures = None) -> None:
    """One file about a task, to show to others."""
    from secure_hfl.home import home_directory
    from secure_hfl.prediction.assignment import finished_task
    from secure_hfl.prediction.card import card_page, model_card, read_evaluation
    from secure_hfl.tasks import TaskStore

    store = TaskStore(home_directory())
    figures = None if evaluation is None else read_evaluation(evaluation)
    values = model_card(store, finished_task(store, reference, None), figures)
    _write(out, card_page(values) if out.suffix == ".html" else json.dumps(values, indent=1) + "\n")
    console().print(plain(f"Written: {out}"))


def _write(path: Path, text: str) -> None:
    from secure_hfl.errors import ConfigurationError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
