"""`secure-hfl demo`."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from secure_hfl.local_parties import LocalParties

TABLE_ROUNDS = 10


def demo(
    scheme: Annotated[str, typer.Option(help="bfv, paillier, masked or plain.")] = "bfv",
    projection: Annotated[
        bool | None, typer.Option("--projection/--no-projection", help="With or without the projection layer.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Outputs of each projection layer; default 20.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of training. Default: 1; with --table 10.")] = None,
    batches: Annotated[int | None, typer.Option(min=1, help="At most so many batches a round.")] = None,
    collaborators: Annotated[int, typer.Option(min=1, max=16, help="Cut the images into so many strips and one.")] = 1,
    table: Annotated[
        bool, typer.Option("--table", help="Two CSV files in place of images, as `secure-hfl table` trains on them.")
    ] = False,
    label_epsilon: Annotated[
        float | None,
        typer.Option(min=0.01, max=20, help="Protect training labels for the whole task, by so much; 3, for example."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Repeatable, NOT SECRET; for tests and comparisons.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep homes, logs, results and transcripts in this directory. Default: removed.")
    ] = None,
) -> None:
    """Train the tutorial's task on this machine, and say what happened.

    Every party is a process of its own; the task is MNIST, or with --table two CSV files.
    """
    from secure_hfl.demo.task import mnist_example, mnist_task, table_task
    from secure_hfl.errors import ConfigurationError
    from secure_hfl.local_parties import LocalParties, RunSettings

    if table and (collaborators != 1 or width is not None or label_epsilon is not None):
        raise ConfigurationError("--table is of two parties: leave out --collaborators, --width and --label-epsilon")
    rounds = rounds or (TABLE_ROUNDS if table else 1)
    example = None if table else mnist_example(collaborators, width, label_epsilon)
    directory = Path(tempfile.mkdtemp(prefix="secure-hfl-demo-")) if keep is None else keep
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    console = Console()
    task = table_task(directory, console) if example is None else mnist_task(example, directory)
    settings = RunSettings(scheme, rounds, batches, seed, projection)
    run = LocalParties(task.scripts, settings, directory, environment=task.environment)
    console.print(f"[bold]secure-hfl demo[/bold]: {task.title}, scheme {scheme}")
    _train(run, console, rounds, batches or task.batches, json_file, is_kept=keep is not None)
    if keep is None:  # what failed before stays, to be looked at
        shutil.rmtree(directory)


def _train(
    run: LocalParties, console: Console, rounds: int, batches: int, json_file: Path | None, is_kept: bool
) -> None:
    """Everything that is shown. Raises `LocalRunFailed` if a party fails or a transcript does not hold."""
    from secure_hfl.demo.display import Display
    from secure_hfl.demo.report import audit_transcripts, print_audits, print_report, report
    from secure_hfl.errors import LocalRunFailed

    run.prepare()
    with Display(console, [party.name for party in run.parties], rounds, batches) as display:
        for name, event in run.run():
            display.take(name, event)
    result = report(run)
    audits = audit_transcripts(run, run.fingerprints)
    result["transcripts_hold"] = all(each.holds for each in audits)
    print_report(console, run, result)
    print_audits(console, run, audits, are_kept=is_kept or not result["transcripts_hold"])
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1))
        console.print(f"Figures: {json_file}")
    if not result["transcripts_hold"]:
        raise LocalRunFailed("the transcripts do not hold: see above")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)
