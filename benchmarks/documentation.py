"""Tables in the documentation, from what benchmarks have written: python -m benchmarks.documentation

A table stands between two comments that name its file in benchmarks/results. Run this after that file has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.batches.tables import TABLES as BATCHES
from benchmarks.many.tables import many_table
from benchmarks.peers.show import between_two_markdown
from benchmarks.products.tables import TABLES as PRODUCTS
from benchmarks.psi_scale_tables import scale_markdown
from benchmarks.ray_scale_tables import scale_markdown as cluster_markdown
from benchmarks.serving import serving_table
from benchmarks.soak.tables import soak_table
from benchmarks.tables.show import markdown as tables_markdown
from benchmarks.tutorial_predictions import parity_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

MARK = "<!-- from benchmarks/results/{} -->"

TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    **{f"products_{part}.json": make for part, make in PRODUCTS.items()},
    **{f"batches_{part}.json": make for part, make in BATCHES.items()},
    "peers_cheetah.json": between_two_markdown,
    "serving.json": serving_table,
    "psi_scale.json": scale_markdown,
    "ray_scale.json": cluster_markdown,
    "many.json": many_table,
    "soak.json": soak_table,
    "tables.json": tables_markdown,
    "tutorial_predictions.json": parity_table,
}
"""By file."""

PREDICTION = ROOT / "docs" / "prediction.md"
PAGES = {
    "serving.json": PREDICTION,
    "tables.json": ROOT / "docs" / "tables.md",
    "tutorial_predictions.json": PREDICTION,
}
"""Where a table is, if not in docs/performance.md."""


def page_of(name: str) -> Path:
    """Where a file's table is."""
    return PAGES.get(name, PAGE)


def table(name: str) -> str:
    """Of a committed file."""
    return TABLES[name](json.loads((RESULTS / name).read_text(encoding="utf-8")))


def put_into(page: Path, name: str, text: str) -> None:
    """Replaces the table of a file in a page, between its two marks.

    Raises:
        ValueError: the page does not have the two marks.
    """
    mark = MARK.format(name)
    pieces = page.read_text(encoding="utf-8").split(mark)
    if len(pieces) != 3:
        raise ValueError(f"{page.name} has {mark} {len(pieces) - 1} times, not twice")
    page.write_text(f"{mark}\n\n{text}\n{mark}".join((pieces[0], pieces[2])), encoding="utf-8")


def main() -> None:
    """All tables."""
    for name in TABLES:
        put_into(page_of(name), name, table(name))


if __name__ == "__main__":
    main()
