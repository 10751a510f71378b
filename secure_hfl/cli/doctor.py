"""`secure-hfl doctor`: is this machine ready to run a task, and if not, what would help."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from secure_hfl.cli.output import console, plain, print_json, table

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def register(app: typer.Typer) -> None:
    """Add `doctor`."""
    app.command()(doctor)


def doctor(as_json: Json = False) -> None:
    """Check this machine: packages, keys, clock, network and disk.

    Exit code 1 if a check fails.
    """
    from secure_hfl.cli.doctor_checks import check_all

    rows = list(check_all())
    ready = all(row.status != "fail" for row in rows)
    if as_json:
        print_json(json.dumps({"ok": ready, "checks": [asdict(row) for row in rows]}, indent=2))
    else:
        grid = table("Check", "", "Detail", "Fix")
        for row in rows:
            grid.add_row(plain(row.check), plain(row.status, _COLOURS[row.status]), plain(row.detail), plain(row.fix))
        console().print(grid)
        console().print("Ready." if ready else "Not ready: see the rows marked fail.")
    if not ready:
        raise typer.Exit(1)
