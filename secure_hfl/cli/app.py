"""The command line: `secure-hfl`, also `python -m secure_hfl`.

Errors that this project raises on purpose become one red line and exit code 1; Ctrl-C exits with 130; wrong usage
with 2, as command lines do.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from protocols.core.errors import SecureHflError
from secure_hfl.cli import check, doctor, evaluate, export, identity, overlap, predict, run, table, task
from secure_hfl.cli.output import print_error
from secure_hfl.version import __version__

INTERRUPTED = 130
# Modules with a `register(app)` that add commands; one that is not installed is left out.
PLUG_INS = tuple(f"secure_hfl.{name}.command" for name in ("demo", "audit", "bench", "console"))

# In which `--help` lists the commands: set a task up, run it, look at it; then what helps to decide.
ORDER = (
    "identity",
    "task",
    "overlap",
    "check",
    "host",
    "collaborator",
    "table",
    "predict",
    "serve",
    "evaluate",
    "card",
    "export",
    "audit",
    "console",
    "doctor",
    "demo",
    "bench",
)


class Commands(TyperGroup):
    """A group of commands that reports our own errors in one line, whoever runs it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of `ORDER`; others last."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except SecureHflError as error:
            print_error(str(error) or type(error).__name__)
            raise typer.Exit(1) from None
        except KeyboardInterrupt as interruption:
            print_error(str(interruption) or "interrupted")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=Commands,
    name="secure-hfl",
    help="Train one PyTorch network over columns that different organisations hold, without showing each other data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"secure-hfl {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # The options of the command itself; they act in their callbacks.
    del version


def _register() -> None:
    for module in (identity, task, overlap, check, run, table, predict, evaluate, export, doctor):
        module.register(app)
    for name in PLUG_INS:
        if _exists(name):
            importlib.import_module(name).register(app)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its package is missing
        return False


_register()


def main() -> None:
    """The entry point of the `secure-hfl` script."""
    app(prog_name="secure-hfl")
