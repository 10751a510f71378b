"""Scores as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_lines(console: Console, title: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """One row for each line, with the first one's columns; a dash for what a line lacks."""
    table = Table(title=title)
    for key in lines[0]:
        table.add_column(key)
    for line in lines:
        cells = (line.get(key, "-") for key in lines[0])
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells))
    console.print(table)
