"""What an evaluation looks like: ROC curves, calibration, confusion. As files, or inside a page; by matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from secure_hfl.bench.report.svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    OCHRE,
    ORANGE,
    PURPLE,
    ROSE,
    SOFT,
    blank,
    inline_svg,
    style,
)
from secure_hfl.cli.output import one_line
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 420.0, 340.0
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, OCHRE, ROSE)
"""Of classes; where there are more, all curves are alike."""

MOST_NUMBERED = 12
"""Classes, beyond which the cells of a confusion have no number in them."""

DARKEST = 0.55
"""Opacity of a cell in which all samples of a class are: a number can still be read on it."""


@dataclass(frozen=True)
class Plot:
    """One.

    Attributes:
        name: of its file, without an ending.
        title: above it.
        alt: what it shows, for who does not see it.
    """

    name: str
    title: str
    alt: str
    _draw: Callable[[Figure], None]

    def figure(self) -> Figure:
        """Drawn; inside `style`."""
        figure = blank(WIDTH, HEIGHT)
        self._draw(figure)
        return figure


def plots_of(figures: Evaluation, names: Sequence[str]) -> list[Plot]:
    """All of an evaluation. `names`: of the classes."""
    shown = [one_line(name) for name in names]
    auc = "not known" if figures.auc is None else f"{figures.auc:.3f}"
    plots = [
        Plot(
            "calibration",
            "Calibration: how often a confidence is right",
            f"Accuracy by confidence, in bins. The expected distance is {figures.calibration_error:.3f}.",
            lambda figure: _calibration(figure, figures),
        ),
        Plot(
            "confusion",
            "Confusion: true classes by row, predicted ones by column",
            f"Counts of samples by true and predicted class; {figures.accuracy:.1%} are on the diagonal.",
            lambda figure: _confusion(figure.subplots(), figures, shown),
        ),
    ]
    if figures.roc:
        roc = Plot(
            "roc",
            f"ROC: area {auc}" + (", mean over classes" if figures.classes > 2 else f", for {shown[1]}"),
            f"True positive rate by false positive rate. The area under the curve is {auc}.",
            lambda figure: _roc(figure.subplots(), figures, shown),
        )
        plots.insert(0, roc)
    return plots


def inside_page(plots: Sequence[Plot]) -> list[tuple[str, Markup]]:
    """Title and drawing of each, for a page that has the rules of `theme_rules`."""
    with style():
        return [(plot.title, inline_svg(plot.figure(), plot.name, plot.alt)) for plot in plots]


def write_plots(plots: Sequence[Plot], directory: Path) -> list[Path]:
    """Each as SVG and as PNG, on white. Raises `ConfigurationError` if they cannot be written."""
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with style():
            for plot in plots:
                figure = plot.figure()
                figure.suptitle(plot.title, fontsize=11.5, color=INK)
                for ending in (".svg", ".png"):
                    written.append(directory / (plot.name + ending))
                    figure.savefig(written[-1], facecolor="white", dpi=144)
    except OSError as error:
        raise ConfigurationError(f"plots cannot be written to {directory}: {error.strerror}") from error
    return written


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.grid(True)


def _roc(axes: Axes, figures: Evaluation, names: Sequence[str]) -> None:
    _diagonal(axes)
    are_told_apart = len(figures.roc) <= len(COLOURS)
    for (each, points), colour in zip(figures.roc.items(), COLOURS if are_told_apart else [BLUE] * len(figures.roc)):
        false, true = zip(*points)
        width, opacity = (1.8, 1.0) if are_told_apart else (1.0, 0.6)
        axes.plot(false, true, color=colour, label=names[each], linewidth=width, alpha=opacity)
    if are_told_apart and len(figures.roc) > 1:
        axes.legend(loc="lower right")
    axes.set_xlabel("False positive rate")
    axes.set_ylabel("True positive rate")


def _calibration(figure: Figure, figures: Evaluation) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    _diagonal(above)
    confidence, right, counts = zip(*figures.reliability)
    above.plot(confidence, right, color=BLUE, marker="o")
    above.set_ylabel("Accuracy")
    below.bar(confidence, counts, width=0.05, color=SOFT)
    below.set_ylabel("Samples")
    below.set_xlabel("Confidence")
    below.set_xlim(-0.02, 1.02)


def _confusion(axes: Axes, figures: Evaluation, names: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    count = figures.classes
    for true, row in enumerate(figures.confusion):
        for guess, samples in enumerate(row):
            share = samples / max(1, sum(row))
            cell = Rectangle((guess, true), 1, 1, facecolor=BLUE, alpha=DARKEST * share, edgecolor="none")
            axes.add_patch(cell)
            if count <= MOST_NUMBERED:
                axes.text(guess + 0.5, true + 0.5, f"{samples:,}", ha="center", va="center", color=INK)
    places = [at + 0.5 for at in range(count)]
    for ticks, labels in ((axes.set_xticks, axes.set_xticklabels), (axes.set_yticks, axes.set_yticklabels)):
        ticks(places)
        labels([_short(name) for name in names] if count <= MOST_NUMBERED else [str(at) for at in range(count)])
    for edge in range(count + 1):
        axes.axhline(edge, color=LINE, linewidth=0.8)
        axes.axvline(edge, color=LINE, linewidth=0.8)
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.tick_params(length=0)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")


def _short(name: str) -> str:
    return name if len(name) <= 12 else name[:11] + "\N{HORIZONTAL ELLIPSIS}"
