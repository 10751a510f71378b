"""What every command prints with: one console a stream, and text from elsewhere made safe for a terminal."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 180  # a pipe or a file has no width; narrow tables would cut fingerprints in two


def console(stderr: bool = False) -> Console:
    """A console on the stream as it is now.

    It reads neither markup nor emoji names in what it prints: ":AB:" is a part of many a fingerprint.
    """
    stream: TextIO = sys.stderr if stderr else sys.stdout
    fixed = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=_PIPE_WIDTH if fixed else None)


def one_line(text: str) -> str:
    """`text` on one line, without control characters: it may come from a peer, a file or a script."""
    joined = " ".join(text.split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in joined)


def plain(text: object, style: str = "") -> Text:
    """Text that is printed as it stands, never read as markup."""
    return Text(one_line(str(text)), style=style)


def table(*columns: str, header: bool = True) -> Table:
    """An empty table that folds long cells: it never cuts an id or a fingerprint short."""
    grid = Table(*columns, box=SIMPLE, show_header=header)
    for column in grid.columns:
        column.overflow = "fold"
    return grid


def print_error(text: str) -> None:
    """One red line on stderr."""
    console(stderr=True).print(plain(f"error: {text}", "red"), soft_wrap=True)


def print_json(text: str) -> None:
    """JSON on stdout, as it is."""
    sys.stdout.write(text + "\n")
