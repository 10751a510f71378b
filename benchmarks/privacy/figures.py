"""The benchmarks' pictures (with matplotlib), and the few pictures among the scores."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from secure_hfl.bench.report.plots import draw_tradeoff
from secure_hfl.bench.report.svg import BLUE, GREEN, GREY, INK, ORANGE, style

GAP = 3
"""Pixels between two pictures of a strip, of its border's grey."""

BORDER = 96


def draw_curves(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """The task's AUC against the strongest gradient attack's, a panel for each task."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(line["task"] for line in lines))
    with style():
        figure = Figure(figsize=(7 * len(names), 5), layout="constrained", facecolor="white")
        for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            draw_tradeoff(panel, [line for line in lines if line["task"] == name])
            panel.set_title(name)
        figure.savefig(path, dpi=90)


def draw_epsilons(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """What is left of each task where training labels are protected: a panel for each task, epsilon from left to right.

    Shaded: from the least to the largest over seeds.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(line["task"] for line in lines))
    epsilons = sorted({line["epsilon"] for line in lines} - {None}, reverse=True)
    with style():
        figure = Figure(figsize=(6 * len(names), 4.2), layout="constrained", facecolor="white")
        for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            own = [line for line in lines if line["task"] == name]
            (unprotected,) = (line["score"] for line in own if line["epsilon"] is None)
            panel.axhline(unprotected, color=GREY, linestyle="--", label="true labels")
            for corrected, label, colour in (
                (True, "label_privacy.loss", BLUE),
                (False, "plain cross-entropy", ORANGE),
            ):
                by_epsilon = {line["epsilon"]: line for line in own if line["corrected"] is corrected}
                curve = [by_epsilon[each] for each in epsilons]
                at, scores = range(len(curve)), [line["score"] for line in curve]
                panel.plot(at, scores, "o-", color=colour, label=label)
                limits = ([line[name] for line in curve] for name in ("least", "largest"))
                panel.fill_between(at, *limits, color=colour, alpha=0.15, linewidth=0)
            panel.set_xticks(range(len(epsilons)), [f"{each:g}" for each in epsilons])
            panel.set(title=name, xlabel="epsilon for each training label", ylabel=own[0]["measure"])
            panel.grid(axis="y")
            panel.legend(loc="lower left", labelcolor=INK)
        figure.savefig(path, dpi=90)


def draw_rounds(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """What the Host has after each round: the error of features with some rows known, and inner products with none."""
    from matplotlib.figure import Figure

    runs = {(line["bottom model"], line["layer"]): [] for line in lines}  # type: dict[tuple[str, str], list[Any]]
    for line in lines:
        runs[line["bottom model"], line["layer"]].append(line)
    colours = dict(zip(dict.fromkeys(bottom for bottom, _ in runs), (BLUE, ORANGE, GREEN), strict=False))
    with style():
        figure = Figure(figsize=(12, 4.2), layout="constrained", facecolor="white")
        panels = figure.subplots(1, 2)
        for panel, score in zip(panels, ("error, 50 rows known", "inner products, none known"), strict=True):
            for (bottom, layer), own in runs.items():
                dashes = "-" if layer.endswith(" 5") else ":"
                at, values = [line["rounds"] for line in own], [line[score] for line in own]
                panel.plot(at, values, dashes, color=colours[bottom], label=f"{bottom}, {layer}")
            panel.set(xlabel="rounds", ylim=(-0.03, 1.03))
            panel.grid(axis="y")
        panels[0].set(title="features: error with 50 of 1,000 rows known", ylabel="0 is everything, 1 the mean row")
        panels[1].set(title="inner products of features, no row known", ylabel="correlation with the true ones")
        panels[1].legend(labelcolor=INK, fontsize=9)
        figure.savefig(path, dpi=90)


def draw_pictures(path: Path, pictures: dict[str, NDArray[Any]]) -> None:
    """One row for each view, the original first."""
    from matplotlib.figure import Figure

    columns = len(next(iter(pictures.values())))
    figure = Figure(figsize=(0.8 * columns + 1.6, 1.25 * len(pictures)), layout="tight")
    for row, (name, own) in zip(figure.subplots(len(pictures), columns), pictures.items(), strict=True):
        for panel, picture in zip(row, own, strict=True):
            panel.imshow(picture, cmap="gray", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", fontsize=8)
    figure.savefig(path, dpi=110)


def encoded(pictures: NDArray[Any]) -> str:
    """Pictures [n, height, width] in [0, 1] side by side, as the base64 of a PNG: 3 kB for ten halves of digits."""
    grey = np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
    framed = np.pad(grey, ((0, 0), (0, 0), (0, GAP)), constant_values=BORDER)
    strip = np.concatenate(list(framed), axis=1)[:, :-GAP]
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
