"""`secure-hfl check SCRIPT`: call a script's methods as a task would, without peers, and say what they did."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secure_hfl.cli.output import console, plain, print_json, table
from secure_hfl.errors import ConfigurationError

if TYPE_CHECKING:
    from secure_hfl.cli.check_scripts import Checked

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}

ALL_OWN_IDS = (
    "All of the script's own ids were used. If its methods count on those that all parties hold, say which with --ids, "
    "or give the scripts of all parties."
)

Scripts = Annotated[
    list[Path],
    typer.Argument(
        metavar="SCRIPT",
        exists=True,
        dir_okay=False,
        readable=True,
        help="The party's script; or the scripts of all parties, which are then checked against each other.",
    ),
]
Peers = Annotated[
    list[str] | None,
    typer.Option("--peer", metavar="KEY=WIDTH", help="A collaborator's feature key, and how wide its features are."),
]
Ids = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        readable=True,
        metavar="FILE",
        help="Ids that all parties hold, one a line. Default: all that this party has.",
    ),
]
Batches = Annotated[
    int, typer.Option(metavar="N", min=1, help="How many batches to draw for training, and for testing.")
]
Scheme = Annotated[
    str | None, typer.Option(metavar="NAME", help="How features will be protected; plain sets no limit on their size.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add `check`."""
    app.command()(check)


def check(
    scripts: Scripts,
    peer: Peers = None,
    ids: Ids = None,
    batches: Batches = 3,
    scheme: Scheme = None,
    as_json: Json = False,
) -> None:
    """Try a script out alone, without a task and without peers.

    Calls its methods as a task would: ids, split, models, a few batches. Nothing is sent and nothing is kept.

    Exit code 1 if a real run would fail.
    """
    # Here and not above, because they import torch, which takes seconds and which `--help` does not need.
    from secure_hfl.cli.check_scripts import check_scripts
    from secure_hfl.dry_run.findings import Assumptions
    from secure_hfl.run_options import RunOptions, activate

    activate(RunOptions(scheme=scheme))
    intersection = None if ids is None else frozenset(line for line in ids.read_text("utf-8").splitlines() if line)
    with _no_bytecode():
        checked = check_scripts(scripts, Assumptions(_widths(peer or ()), intersection, batches))
    passed = all(each.passed for each in checked)
    if as_json:
        print_json(json.dumps({"ok": passed, "checked": [_to_json(each) for each in checked]}, indent=2))
    else:
        for each in checked:
            _print(each)
        console().print("Ready." if passed else "Not ready: see the rows marked fail.")
        if not passed and ids is None and len(scripts) == 1:
            console().print(ALL_OWN_IDS)
    if not passed:
        raise typer.Exit(1)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Python keeps nothing of the modules that a script imports, either."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _widths(options: Iterable[str]) -> dict[str, int]:
    widths: dict[str, int] = {}
    for option in options:
        key, equals, width = option.rpartition("=")
        if not (key and equals and width.isdecimal() and int(width)):
            raise ConfigurationError(f"--peer {option}: write KEY=WIDTH, for example clinic=20")
        widths[key] = int(width)
    return widths


def _print(checked: Checked) -> None:
    out = console()
    out.print(plain(_title(checked), "bold"))
    grid = table("Step", "", "What happened")
    for finding in checked.findings:
        grid.add_row(plain(finding.step), plain(finding.status, _COLOURS[finding.status]), plain(finding.detail))
    out.print(grid)


def _title(checked: Checked) -> str:
    party = checked.party
    return f"{checked.script}: {checked.name}" + ("" if party is None else f", {party.role} {party.key!r}")


def _to_json(checked: Checked) -> dict[str, Any]:
    party = checked.party
    return {
        "script": str(checked.script),
        "class": checked.name,
        "role": None if party is None else party.role,
        "feature_key": None if party is None else party.key,
        "ok": checked.passed,
        "findings": [{"step": each.step, "status": each.status, "detail": each.detail} for each in checked.findings],
    }
