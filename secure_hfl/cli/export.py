"""`secure-hfl export SCRIPT`: the Host's part of a finished task, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from secure_hfl.cli.output import console, plain
from secure_hfl.cli.predict import Task, run_in_place_of_training
from secure_hfl.cli.run import Script, Traceback

Directory = Annotated[Path, typer.Option("--out", metavar="DIRECTORY", file_okay=False, help="Where the files go.")]
Onnx = Annotated[bool, typer.Option("--onnx", help="Write ONNX files too.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(help="Write the Host's models of a finished task: safetensors, torch.export programs, ONNX.")(export)


def export(
    script: Script, out: Directory, task: Task = None, onnx: Onnx = False, show_traceback: Traceback = False
) -> None:
    """The bottom model, the top model, and the fallback head if there is one."""
    from secure_hfl.prediction.export import Exported, check_onnx
    from secure_hfl.schedulers.host import HeteroNNHostScheduler

    if onnx:
        check_onnx()
    done: list[Exported] = []

    def run(scheduler: Any, reference: str) -> None:
        done.extend(scheduler.export(out, reference, onnx))

    run_in_place_of_training(script, HeteroNNHostScheduler, "export", run, task, show_traceback)
    for each in done:
        console().print(plain(f"Not written: {each.file}: {each.problem}" if each.problem else f"Written: {each.file}"))
    if any(each.problem for each in done):
        raise typer.Exit(1)
