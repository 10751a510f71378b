"""Results as Markdown, for docs/performance.md."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import number, table
from benchmarks.soak.verdict import WARM_UP

COUNTS = ("rounds", "batches", "checkpoints", "cuts_in_all", "resumes")


def soak_table(found: dict[str, Any]) -> str:
    """What happened, and how much more each party held at the end than after the warm-up."""
    behind = f"{100 * (1 - WARM_UP):.0f} %"
    headings = [name.replace("_in_all", "") for name in COUNTS]
    grown = ["MB host, collaborator", "threads", "descriptors", "files"]
    rows = [
        [case["scheme"], number(case["seconds"] / 60), *(f"{case[name]:,}" for name in COUNTS), *_grown(case)]
        for case in found["cases"]
    ]
    return table(["scheme", "minutes", *headings, *(f"growth over the last {behind}: {each}" for each in grown)], rows)


def _grown(case: dict[str, Any]) -> list[str]:
    found = {
        what: [f"{line['growth']:+.2g}" for line in case["growth"] if line["of"] == what]
        for what in ("MB", "threads", "descriptors", "files")
    }
    return [", ".join(values) for values in found.values()]
