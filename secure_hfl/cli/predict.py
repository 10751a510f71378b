"""`secure-hfl predict SCRIPT` at the Host, `secure-hfl serve SCRIPT` at its Collaborators: use what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from secure_hfl.cli.output import console, plain
from secure_hfl.cli.run import Script, Traceback, run_script

Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK", help="The task's id, its first characters, or its name. Default: the only finished task."
    ),
]
Ids = Annotated[
    Path,
    typer.Option(
        "--ids",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help='Whom to predict: one id a line, or the column "id" of a .csv or .parquet file.',
    ),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="The table to write: .csv or .parquet.")
]
Sessions = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Stop after so many sessions. Default: at SIGTERM or Ctrl-C.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(help="Predict samples with a finished task, as its Host. Its Collaborators must serve.")(predict)
    app.command(help="Serve the predictions of a finished task, as a Collaborator.")(serve)


def predict(script: Script, ids: Ids, out: Out, task: Task = None, show_traceback: Traceback = False) -> None:
    """Write a row for each id that was asked for."""
    from secure_hfl.prediction.outcome import PARQUET, check_parquet, read_ids
    from secure_hfl.schedulers.host import HeteroNNHostScheduler

    if out.suffix == PARQUET:
        check_parquet()
    wanted = read_ids(ids)

    def run(scheduler: Any, reference: str) -> None:
        found = scheduler.predict(wanted, reference)
        found.write(out)
        missing = len({each for each in found.ids if each not in found.at})
        shown = console()
        shown.print(plain(f"{len(found.at)} ids predicted, {missing} missing: {out}"))
        for path in found.transcripts:
            shown.print(plain(f"Transcript: {path}"))

    run_in_place_of_training(script, HeteroNNHostScheduler, "predict", run, task, show_traceback)


def serve(script: Script, task: Task = None, sessions: Sessions = None, show_traceback: Traceback = False) -> None:
    """Answer the Host, session after session."""
    from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler

    def run(scheduler: Any, reference: str) -> None:
        scheduler.serve_predictions(reference, sessions)

    run_in_place_of_training(script, HeteroNNCollaboratorScheduler, "serve", run, task, show_traceback)


def run_in_place_of_training(
    script: Path,
    wanted: type[Any],
    command: str,
    run: Callable[[Any, str], None],
    task: str | None,
    show_traceback: bool,
) -> None:
    """Run a script; what it launches is given to `run`. Raises what `run_script` does."""
    from secure_hfl.errors import ConfigurationError
    from secure_hfl.mocking import within
    from secure_hfl.prediction.launched import Launched
    from secure_hfl.run_options import RunOptions, activate

    activate(RunOptions(task=task))
    launched = Launched(wanted, command, run)
    with within(launched):
        run_script(script, task, show_traceback)
    if not launched.is_done:
        raise ConfigurationError(f"{script} launches no task")
