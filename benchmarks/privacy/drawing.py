"""The benchmark's two pictures. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FAMILIES = ("Gaussian", "Marvell", "MaxNorm")


def draw_curves(path: Path, lines: list[dict[str, Any]]) -> None:
    """The task's AUC against the strongest gradient attack's, a panel for each task."""
    names = list(dict.fromkeys(line["task"] for line in lines))
    figure, panels = plt.subplots(1, len(names), figsize=(5.5 * len(names), 4), squeeze=False)
    for panel, name in zip(panels[0], names, strict=True):
        own = {line["defence"]: line for line in lines if line["task"] == name}
        for family in FAMILIES:
            points = [line for defence, line in own.items() if defence.startswith(family)]
            points.sort(key=lambda line: line["strongest"])
            x, y = ([line[key] for line in points] for key in ("strongest", "task AUC"))
            panel.plot(x, y, marker="o", label=family)
            for line in points:
                strength = line["defence"].removeprefix(family).strip()
                panel.annotate(strength, (line["strongest"], line["task AUC"]), fontsize=7)
        for defence, marker in (("nothing", "x"), ("frozen bottom model", "s")):
            panel.plot(own[defence]["strongest"], own[defence]["task AUC"], marker, color="black", label=defence)
        panel.set(title=name, xlabel="AUC of the strongest gradient attack", ylabel="AUC of the task")
        panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def draw_pictures(path: Path, pictures: dict[str, NDArray[Any]]) -> None:
    """One row for each view, the original first."""
    columns = len(next(iter(pictures.values())))
    figure, panels = plt.subplots(len(pictures), columns, figsize=(0.8 * columns + 1.6, 1.25 * len(pictures)))
    for row, (name, own) in zip(panels, pictures.items(), strict=True):
        for panel, picture in zip(row, own, strict=True):
            panel.imshow(picture, cmap="gray", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
