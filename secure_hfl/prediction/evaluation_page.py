"""An evaluation as one page of HTML: figures, plots, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence

from secure_hfl.bench.report.svg import theme_rules
from secure_hfl.pages import page, stylesheet
from secure_hfl.prediction.evaluation import Evaluation, NumberEvaluation, shown_figures
from secure_hfl.prediction.plots import inside_page, plots_of


def evaluation_page(task: str, figures: Evaluation | NumberEvaluation, names: Sequence[str] = ()) -> str:
    """The page.

    Args:
        task: its name.
        figures: what was found.
        names: of the classes; default: their numbers.

    Raises:
        ConfigurationError: the plots need matplotlib.
    """
    plots, headings, confusion, reliability = [], [], [], []
    if isinstance(figures, Evaluation):
        names = class_names(figures, names)
        plots = inside_page(plots_of(figures, names))
        headings = ["True class", *(f"as {name}#" for name in names)]
        confusion = [(name, *row) for name, row in zip(names, figures.confusion)]
        reliability = [(f"{mean:.3f}", f"{right:.3f}", f"{count:,}") for mean, right, count in figures.reliability]
    return page(
        "evaluation.html.j2",
        stylesheet("bench") + theme_rules(),
        task=task,
        figures=shown_figures(figures),
        plots=plots,
        headings=headings,
        confusion=confusion,
        reliability=reliability,
    )


def class_names(figures: Evaluation, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Those that are known, or else their numbers."""
    return tuple(names) or tuple(map(str, range(figures.classes)))
