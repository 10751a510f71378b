"""`secure-hfl predict SCRIPT` at the Host, `secure-hfl serve SCRIPT` at its Collaborators: use what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from protocols.core.wording import plural
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
Http = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS:PORT", help="At the Host: predict over HTTP, here. 127.0.0.1:8080 is for this machine alone."
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        help="With --http: the file of the token that clients show. Made, and the token printed, where there is none.",
    ),
]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="With --http: other machines may reach it. Needs a certificate and key.")
]
TlsCert = Annotated[
    Path | None, typer.Option(metavar="FILE", dir_okay=False, help="With --http: the server's certificate (PEM).")
]
TlsKey = Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="With --http: its key (PEM).")]
Wait = Annotated[
    float | None, typer.Option(metavar="SECONDS", min=0.1, help="With --http: how long a request waits. Default: 30.")
]

Fallback = Annotated[
    bool,
    typer.Option(
        "--fallback",
        help="Predict with the head over the Host's own features, if the task has trained one. Nobody else is asked.",
    ),
]
ServeFallback = Annotated[
    bool,
    typer.Option(
        "--fallback", help="With --http: while not all Collaborators are there, the Host's own fallback head answers."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(help="Predict samples with a finished task, as its Host. Its Collaborators must serve.")(predict)
    app.command(help="Serve the predictions of a finished task: as a Collaborator, or as the Host over HTTP.")(serve)


def predict(
    script: Script,
    ids: Ids,
    out: Out,
    task: Task = None,
    fallback: Fallback = False,
    show_traceback: Traceback = False,
) -> None:
    """Write a row for each id that was asked for."""
    from secure_hfl.files import check_writable
    from secure_hfl.prediction.id_files import check_parquet, is_parquet, read_ids
    from secure_hfl.schedulers.host import HeteroNNHostScheduler

    check_writable(out)  # what is asked counts, also if nobody can read the answer
    if is_parquet(out):
        check_parquet()
    wanted = read_ids(ids)

    def run(scheduler: Any, reference: str) -> None:
        found = scheduler.predict(wanted, reference, fallback)
        found.write(out)
        missing = len({each for each in found.ids if each not in found.at})
        shown = console()
        alone = " by the Host alone" if fallback else ""
        shown.print(plain(f"{plural(len(found.at), 'id')} predicted{alone}, {missing:,} missing: {out}"))
        for path in found.transcripts:
            shown.print(plain(f"Transcript: {path}"))

    run_in_place_of_training(script, HeteroNNHostScheduler, "predict", run, task, show_traceback)


def serve(
    script: Script,
    task: Task = None,
    sessions: Sessions = None,
    http: Http = None,
    token_file: TokenFile = None,
    allow_remote: AllowRemote = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    wait: Wait = None,
    fallback: ServeFallback = False,
    show_traceback: Traceback = False,
) -> None:
    """Answer the Host, session after session; or, at the Host, answer HTTP clients."""
    from secure_hfl.errors import ConfigurationError
    from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
    from secure_hfl.schedulers.host import HeteroNNHostScheduler

    if http is None:
        if token_file or allow_remote or tls_cert or tls_key or wait or fallback:
            raise ConfigurationError(
                "--token-file, --allow-remote, --tls-cert, --tls-key, --wait and --fallback are for --http"
            )

        def run(scheduler: Any, reference: str) -> None:
            scheduler.serve_predictions(reference, sessions)

        run_in_place_of_training(
            script, HeteroNNCollaboratorScheduler, "serve without --http", run, task, show_traceback
        )
        return
    if sessions is not None:
        raise ConfigurationError("--sessions is for a Collaborator, --http for the Host")

    def run_http(scheduler: Any, reference: str) -> None:
        scheduler.serve_predictions(reference, http, token_file, (tls_cert, tls_key), allow_remote, wait, fallback)

    run_in_place_of_training(script, HeteroNNHostScheduler, "serve --http", run_http, task, show_traceback)


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
