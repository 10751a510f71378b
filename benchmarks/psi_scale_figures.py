"""Memory of both parties over time, from what benchmarks.psi_scale has written: python -m benchmarks.psi_scale_figures

On a ground of its own, so that it can be read on a light page and on a dark one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

RESULTS = Path(__file__).parent / "results"
COLOURS = {"host": "#1566c0", "collaborator": "#c2410c"}
PHASES = {"psi": "PSI", "align": "split", "train": "training"}
ALLOWED_MB = 1500


def draw(line: dict[str, Any], target: Path) -> None:
    """The curve of one line."""
    seconds = [point[0] for point in line["curve"]]
    figure, axes = pyplot.subplots(figsize=(7.2, 3.2), layout="constrained", facecolor="white")
    for place, (name, colour) in enumerate(COLOURS.items(), 1):
        axes.plot(seconds, [point[place] for point in line["curve"]], color=colour, label=name, linewidth=1.4)
    axes.axhline(ALLOWED_MB, color="#8b95a3", linestyle="--", linewidth=1)
    axes.annotate("1.5 GB", (0, ALLOWED_MB), xytext=(2, -11), textcoords="offset points", color="#5b6675", fontsize=9)
    shown = [(phase, at) for phase, at in line["phases"] if phase in PHASES]
    for height, (phase, at) in enumerate(shown):
        axes.axvline(at, color="#e1e5ea", linewidth=1)
        place = (-4 if at > seconds[-1] / 2 else 4, 4 + 12 * height)
        side = "right" if at > seconds[-1] / 2 else "left"
        small: dict[str, Any] = {"textcoords": "offset points", "color": "#5b6675", "fontsize": 9, "ha": side}
        axes.annotate(PHASES[phase], (at, 0), xytext=place, **small)
    axes.set_xlabel("seconds")
    axes.set_ylabel("resident memory, MB")
    axes.set_ylim(0, ALLOWED_MB * 1.08)
    axes.set_xlim(0)
    axes.set_title(f"{line['host_ids']:,} against {line['collaborator_ids']:,} ids", fontsize=10)
    axes.legend(frameon=False, loc=(0.03, 0.62))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(target, dpi=150)
    pyplot.close(figure)


def main() -> None:
    """Of the largest line."""
    mpl.use("agg")
    lines = json.loads((RESULTS / "psi_scale.json").read_text(encoding="utf-8"))["lines"]
    draw(max(lines, key=lambda line: line["host_ids"] + line["collaborator_ids"]), RESULTS / "psi_scale.png")


if __name__ == "__main__":
    main()
