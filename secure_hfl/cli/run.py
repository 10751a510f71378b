"""`secure-hfl host SCRIPT` and `secure-hfl collaborator SCRIPT`: run a user's script with options from outside."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from protocols.core.errors import SecureHflError
from secure_hfl.cli.output import print_error
from secure_hfl.cli.script import ScriptError, execute

FALLBACK_LOG = "secure-hfl.log"
INTERRUPTED = (
    "interrupted: the task has stopped for all parties. To go on from its last checkpoint start all again with "
    "--resume; without it the task begins anew"
)

Script = Annotated[
    Path, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False, readable=True, help="This party's script.")
]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK", help="The task's id, its first characters, or its name. Default: the only unfinished task."
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Rounds of training, instead of the script's max_rounds. The Host decides."),
]
Batches = Annotated[int | None, typer.Option(metavar="N", min=1, help="Batches of a round, at most. The Host decides.")]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, help="Make the run repeatable. NOT SECRET, for tests; both sides must ask for it."
    ),
]
Scheme = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="How features are protected: bfv, paillier, masked; plain, if both sides ask for it."
    ),
]
Projection = Annotated[
    bool | None, typer.Option(help="With or without the projection layer. Only plain can do without.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted task, from the last checkpoint of all parties.")
]
Wait = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=1,
        help="How long to wait for the others to come, or to come back, instead of the script's.",
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Batches between two checkpoints. Default: about ten seconds' worth."),
]
KeepForJudge = Annotated[
    bool,
    typer.Option(
        "--keep-for-judge",
        help="Keep what the last round can be opened with to a judge (`task open-round`), in SECRET files.",
    ),
]
KeepAllRounds = Annotated[bool, typer.Option("--keep-all-rounds", help="The same for every round.")]
Proxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="An HTTP proxy to reach the host through: http://host:port. One with a password: $SECURE_HFL_PROXY.",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(metavar="ENGINE", help="This party's own cluster for heavy work: ray://HOST:PORT, or ray (here)."),
]
Traceback = Annotated[bool, typer.Option("--traceback", help="Print the whole traceback of an error.")]


def register(app: typer.Typer) -> None:
    """Add `host` and `collaborator`."""
    app.command(help="Run SCRIPT as the Host of a task: the party with the labels.")(host)
    app.command(help="Run SCRIPT as a Collaborator of a task.")(collaborator)


def host(
    script: Script,
    task: Task = None,
    rounds: Rounds = None,
    batches: Batches = None,
    seed: Seed = None,
    scheme: Scheme = None,
    projection: Projection = None,
    resume: Resume = False,
    wait: Wait = None,
    checkpoint_every: CheckpointEvery = None,
    engine: Engine = None,
    keep_for_judge: KeepForJudge = False,
    keep_all_rounds: KeepAllRounds = False,
    show_traceback: Traceback = False,
) -> None:
    """Run a script that launches a Host scheduler."""
    start_script(
        script,
        show_traceback,
        task=task,
        rounds=rounds,
        batches=batches,
        seed=seed,
        scheme=scheme,
        projection=projection,
        resume=resume or None,
        wait=wait,
        checkpoint_every=checkpoint_every,
        engine=engine,
        keep_for_judge=keep_for_judge or None,
        keep_all_rounds=keep_all_rounds or None,
    )


def collaborator(
    script: Script,
    task: Task = None,
    rounds: Rounds = None,
    batches: Batches = None,
    seed: Seed = None,
    scheme: Scheme = None,
    projection: Projection = None,
    resume: Resume = False,
    wait: Wait = None,
    proxy: Proxy = None,
    engine: Engine = None,
    keep_for_judge: KeepForJudge = False,
    keep_all_rounds: KeepAllRounds = False,
    show_traceback: Traceback = False,
) -> None:
    """Run a script that launches a Collaborator scheduler."""
    start_script(
        script,
        show_traceback,
        task=task,
        rounds=rounds,
        batches=batches,
        seed=seed,
        scheme=scheme,
        projection=projection,
        resume=resume or None,
        wait=wait,
        proxy=proxy,
        engine=engine,
        keep_for_judge=keep_for_judge or None,
        keep_all_rounds=keep_all_rounds or None,
    )


def start_script(script: Path, show_traceback: bool, *, task: str | None, **options: Any) -> None:
    """Run a script with these options of a run (`RunOptions`). Raises as `run_script`."""
    from secure_hfl.run_options import RunOptions, activate

    activate(RunOptions(task=task, **options))
    run_script(script, task, show_traceback)


def run_script(script: Path, task: str | None, show_traceback: bool = False) -> None:
    """Run a script as `python SCRIPT` would, and turn what it raises into one of our errors.

    The traceback goes to the task's log, or to `$SECURE_HFL_HOME/secure-hfl.log` when it is not clear which task.

    Raises:
        ScriptError: the script raised; says what, and where in the script.
        SecureHflError: one of this project's own errors, unchanged.
        KeyboardInterrupt: with the way on.
    """
    log = _log_file(task)
    try:
        error = execute(script)
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt(INTERRUPTED) from interruption
    if error is None:
        return
    text = "".join(traceback.format_exception(error))
    _append(log, text)
    if show_traceback:
        sys.stderr.write(text)
    if isinstance(error, SecureHflError):
        raise error
    raise ScriptError(script, error, "" if show_traceback else f"; traceback in {log}") from error


def _log_file(task: str | None) -> Path:
    from secure_hfl.home import home_directory
    from secure_hfl.tasks import TaskStore, resolve_task

    home = home_directory()
    store = TaskStore(home)
    try:
        return store.log_file(resolve_task(store, "YOUR_TASK_ID", task).task_id)
    except SecureHflError:
        # The script may name its task itself; if it does not, it is the one to say what is wrong.
        return home / FALLBACK_LOG


def _append(log: Path, text: str) -> None:
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as problem:
        print_error(f"{log}: {problem.strerror}; the traceback below could not be kept")
        sys.stderr.write(text)
