"""The table of large sets, in Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import number, table


def scale_markdown(found: dict[str, Any]) -> str:
    """A row for each line that was measured, one for spu where it ran, and one that is computed."""
    headings = (
        "ids of host x collaborator",
        "buckets",
        "seconds",
        "MB over the wire",
        "peak MB of PSI",
        "of the whole run",
    )
    rows = [_row(line) for line in found["lines"]]
    if spu := found.get("spu"):
        rows.append(_of_spu(spu))
    if more := found.get("extrapolated"):
        cells = number(more["buckets"]), f"{number(more['seconds'])}", number(more["megabytes"])
        rows.append((f"{more['ids']:,} x {more['ids']:,}, **extrapolated**", *cells, "", ""))
    return table(headings, rows)


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    peaks = (number(max(line[name])) for name in ("psi_peak_mb", "run_peak_mb"))
    name = f"{line['host_ids']:,} x {line['collaborator_ids']:,}"
    return (name, str(line["buckets"]), number(line["seconds"]), number(line["megabytes"]), *peaks)


def _of_spu(spu: dict[str, Any]) -> tuple[str, ...]:
    name = f"{spu['ids']:,} x {spu['ids']:,}, spu"
    if "failed" in spu:
        return (name, "", "failed", "", "", "")
    seconds = next(step for step in spu["steps"] if step["name"] == "psi")
    peaks = spu["peak_mb"].values()
    return (name, "", number(seconds["seconds"]), number(seconds["bytes"] / 1e6), number(max(peaks)), "")
