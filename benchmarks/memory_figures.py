"""Memory as plots, from what benchmarks.many and benchmarks.soak have written: python -m benchmarks.memory_figures

On a ground of their own, so that they can be read on a light page and on a dark one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes

RESULTS = Path(__file__).parent / "results"
COLOURS = {"plain": "#1566c0", "bfv": "#c2410c", "masked": "#0f766e", "paillier": "#7c3aed"}
MARKS = {"plain": "o", "bfv": "s", "masked": "^", "paillier": "D"}


def draw(target: Path, titles: list[tuple[str, str]], plots: list[Callable[[Axes], None]]) -> None:
    """Plots side by side, each with its title and the name of its x axis."""
    figure, rows = pyplot.subplots(
        1, len(plots), figsize=(4.6 * len(plots), 3.2), layout="constrained", facecolor="white", squeeze=False
    )
    for axes, (title, below), plot in zip(rows[0], titles, plots, strict=True):
        plot(axes)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(below)
        axes.set_ylabel("resident memory, MB")
        axes.set_ylim(0)
        axes.grid(axis="y", color="#e1e5ea", linewidth=0.8)
        axes.legend(frameon=False, loc="lower right", fontsize=9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.savefig(target, dpi=150)
    pyplot.close(figure)


def by_size(lines: list[dict[str, Any]], name: str) -> Callable[[Axes], None]:
    """Peaks by tasks at once, or by collaborators."""
    other = {"tasks": "collaborators", "collaborators": "tasks"}[name]

    def plot(axes: Axes) -> None:
        for scheme, colour in COLOURS.items():
            found = {each[name]: each for each in lines if each["scheme"] == scheme and each[other] == 1}
            chosen = [each for _, each in sorted(found.items()) if not each["in_turns"]]
            if chosen:
                sizes, peaks = [each[name] for each in chosen], [each["peak_mb"] for each in chosen]
                axes.plot(sizes, peaks, color=colour, marker=MARKS[scheme], label=scheme, linewidth=1.4)

    return plot


def in_turns(lines: list[dict[str, Any]]) -> Callable[[Axes], None]:
    """After each of many tasks."""

    def plot(axes: Axes) -> None:
        for line in lines:
            if line["in_turns"]:
                after, scheme = line["mb_after_each"], line["scheme"]
                numbers = range(1, len(after) + 1)
                axes.plot(numbers, after, color=COLOURS[scheme], marker=MARKS[scheme], label=scheme, linewidth=1.4)

    return plot


def over_time(cases: list[dict[str, Any]], party: str) -> Callable[[Axes], None]:
    """Of one party while its connection is cut."""

    def plot(axes: Axes) -> None:
        for case in cases:
            curve = case["curves"][party]
            minutes, held = [point[0] / 60 for point in curve], [point[1] for point in curve]
            axes.plot(minutes, held, color=COLOURS[case["scheme"]], label=case["scheme"], linewidth=1.4)

    return plot


def main() -> None:
    """Both."""
    mpl.use("agg")
    lines = json.loads((RESULTS / "many.json").read_text(encoding="utf-8"))["lines"]
    titles = [("tasks at once", "tasks"), ("one task", "collaborators"), ("one task after another", "tasks so far")]
    plots = [by_size(lines, "tasks"), by_size(lines, "collaborators"), in_turns(lines)]
    draw(RESULTS / "many.png", titles, plots)
    cases = json.loads((RESULTS / "soak.json").read_text(encoding="utf-8"))["cases"]
    parties = ("host", "collaborator")
    draw(RESULTS / "soak.png", [(party, "minutes") for party in parties], [over_time(cases, each) for each in parties])


if __name__ == "__main__":
    main()
