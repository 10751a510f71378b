"""The table of work on a Ray cluster, in Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import number, table

MODELLED = ("8", "32")
"""Workers of which the model is shown."""


def scale_markdown(found: dict[str, Any]) -> str:
    """A row for each case: measured, then modelled."""
    headings = (
        "work",
        "pieces",
        "MB there and back",
        "s here, one core",
        "s, 1 worker",
        "s, 2 workers",
        "speed-up 1 → 2",
        "ms lost on a piece",
        *(f"{workers} workers, **model**" for workers in MODELLED),
    )
    return table(headings, map(_row, found["cases"]))


def _row(case: dict[str, Any]) -> tuple[str, ...]:
    one, two = case["seconds"]["1"], case["seconds"]["2"]
    lost = 1e3 * (one - case["here_seconds"]) / case["pieces"]
    measured = (case["pieces"], case["megabytes"], case["here_seconds"], one, two, one / two, max(0.0, lost))
    modelled = (number(case["modelled_seconds"][workers]) for workers in MODELLED)
    return (case["name"], *map(number, measured), *modelled)
