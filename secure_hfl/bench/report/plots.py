"""The report's kinds of plot, drawn with matplotlib: lines, stacked bars, dots, and what noise costs and buys.

They know nothing of benchmarks: `figures.py` and `privacy.py` say what to draw. One colour and one marker a
scheme, everywhere; told apart without seeing red or green, and in black and white by their markers. matplotlib is the
extra `bench`, and imported when the first plot is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from secure_hfl.bench.report.svg import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    INK,
    LINE,
    OCHRE,
    ON_FILL,
    ORANGE,
    PURPLE,
    ROSE,
    SLATE,
    SOFT,
    WAIT,
    blank,
    inline_svg,
    style,
)
from secure_hfl.cli.output import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = (520.0, 300.0)
WIDE = 1000.0
ROW = 19.0


@dataclass(frozen=True)
class Look:
    """A series' colour and marker ("" is a bar's)."""

    colour: str
    marker: str = ""
    is_dashed: bool = False


SCHEMES = {
    "one process": Look(GREY, "P", True),
    "plain": Look(INK, "o"),
    "plain + projection": Look(SLATE, "v", True),
    "masked": Look(GREEN, "s"),
    "bfv": Look(BLUE, "D"),
    "paillier": Look(ORANGE, "^"),
}
OTHERS = (Look(PURPLE, "X"), Look(OCHRE, "<"), Look(ROSE, ">"))
"""Of plug-ins, in the order in which they appear."""

WORK_COLOURS = {
    "bottom forward": "#a9bfdc",
    "top": "#d3dfee",
    "backward and step": "#7f9dc4",
    "encrypt": "#f3c65c",
    "product": "#e8894f",
    "decrypt": "#c96a6a",
    "scheme, other": "#f6e0b0",
    "serialise": "#86bda2",
    "transcript": "#c3dfcf",
    "wait": WAIT,
    "other": "#bfc7d1",
}
"""Blue: the networks; warm: cryptography; green: what goes on the wire and into the transcript."""

FAMILIES = {"Gaussian": Look(PURPLE, "D"), "Marvell": Look(OCHRE, "^"), "MaxNorm": Look(ROSE, "s")}
"""Defences, in colours that are no scheme's of ours; what follows the name is the strength."""

CROWDED = 0.98
"""An attack's AUC from where on strengths, all of them weak, are not written: the points lie on each other."""

SINGLES = {"nothing": Look(INK, "X"), "frozen bottom model": Look(SLATE, "P")}


@dataclass(frozen=True)
class Line:
    """One series. `refused` are places at which there is nothing, and why is said elsewhere."""

    name: str
    look: Look
    points: Sequence[tuple[float, float]]
    refused: Sequence[float] = ()


@dataclass(frozen=True)
class Scale:
    """An axis. `ticks` are places and their names, where the figures themselves are not wanted."""

    label: str
    is_log: bool = False
    ticks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Row:
    """A bar of parts, each with its name, value and colour; `end` is written behind it. Without parts: a heading."""

    label: str
    parts: Sequence[tuple[str, float, str]] = ()
    end: str = ""


def short(name: str, most: int = 28) -> str:
    """A name for a plot."""
    clean = one_line(name)
    return clean if len(clean) <= most else clean[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def spreads(values: Sequence[float], factor: float) -> bool:
    """Whether the largest is more than so many times the smallest: then an axis is logarithmic."""
    positive = [value for value in values if value > 0 and isfinite(value)]
    return bool(positive) and max(positive) > factor * min(positive)


def lines(name: str, alt: str, series: Sequence[Line], x: Scale, y: Scale, with_names: bool) -> Markup:
    """Series over x; `with_names` writes each one's name at its end, in place of a legend."""
    with style():
        figure = blank(*PANEL)
        panel = figure.subplots()
        for line in series:
            dashes = (0, (4, 2)) if line.look.is_dashed else "solid"
            across, up = [at for at, _ in line.points], [value for _, value in line.points]
            panel.plot(across, up, color=line.look.colour, marker=line.look.marker, linestyle=dashes, clip_on=False)
        _scale(panel.xaxis, x, [at for line in series for at, _ in line.points])
        _scale(panel.yaxis, y, [value for line in series for _, value in line.points])
        panel.grid(axis="y")
        if x.ticks:
            panel.set_xlim(*_around([at for at, _ in x.ticks], x.is_log))
        _refusals(panel, series)
        if with_names:
            _names_at_ends(panel, series)
        return inline_svg(figure, name, alt)


def _around(places: Sequence[float], is_log: bool) -> tuple[float, float]:
    """A little more than the ticks."""
    first, last = min(places), max(places)
    if is_log:
        return first / 1.2, last * 1.2
    space = 0.06 * (last - first) or 0.5
    return first - space, last + space


def _scale(axis: Any, scale: Scale, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, ScalarFormatter

    axis.set_label_text(scale.label)
    if scale.is_log:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_minor_locator(NullLocator())
    positive = [value for value in values if value > 0 and isfinite(value)]
    if scale.ticks:
        axis.set_major_locator(FixedLocator([at for at, _ in scale.ticks]))
        axis.set_ticklabels([name for _, name in scale.ticks])
    elif scale.is_log and positive:
        low, high = min(positive) / 1.15, max(positive) * 1.15
        axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})
        axis.set_major_locator(FixedLocator(_log_ticks(low, high)))
    if scale.is_log and not scale.ticks:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    elif not scale.ticks:
        plain = ScalarFormatter(useOffset=False)
        plain.set_scientific(False)
        axis.set_major_formatter(plain)
    axis.set_tick_params(length=3, width=0.8)
    axis.axes.spines["left"].set_visible(False)
    axis.axes.yaxis.set_tick_params(length=0)


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 and so on, fewer if there are many."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [round(tick, 10) for tick in ticks if low <= tick <= high]
        if len(inside) <= 7:
            break
    return inside


def _refusals(panel: Axes, series: Sequence[Line]) -> None:
    """Crosses above the lines, a row for each scheme that refuses."""
    refusing = [line for line in series if line.refused]
    if not refusing:
        return
    step, across = 1.4 * FONT / (PANEL[1] - 60), panel.get_xaxis_transform()
    (low, high), used = panel.get_ylim(), 1 - step * (len(refusing) + 0.7)
    panel.set_ylim(low, low * (high / low) ** (1 / used) if panel.get_yscale() == "log" else low + (high - low) / used)
    for level, line in enumerate(refusing):
        height = 1 - step * (level + 0.5)
        text: dict[str, Any] = {
            "xycoords": across,
            "xytext": (-9, 0),
            "textcoords": "offset points",
            "ha": "right",
            "va": "center",
        }
        marks: dict[str, Any] = {
            "color": line.look.colour,
            "transform": across,
            "markersize": 7,
            "markeredgewidth": 2,
            "clip_on": False,
        }
        panel.plot(line.refused, [height] * len(line.refused), "x", **marks)
        name = f"{short(line.name, 16)} refuses"
        panel.annotate(name, (min(line.refused), height), color=line.look.colour, **text)


def _names_at_ends(panel: Axes, series: Sequence[Line]) -> None:
    """Beside the last points: at the right edge, and apart from each other there."""
    place, last = panel.transScale + panel.transLimits, max(at for line in series for at, _ in line.points)
    for line in series:
        if line.points and line.points[-1][0] < last:
            text: dict[str, Any] = {
                "xytext": (8, 0),
                "textcoords": "offset points",
                "va": "center",
                "color": line.look.colour,
            }
            panel.annotate(short(line.name), line.points[-1], **text)
    ends = [
        (float(place.transform(each.points[-1])[1]), each)
        for each in series
        if each.points[-1:] and each.points[-1][0] == last
    ]
    ends.sort(key=lambda end: end[0])
    heights = apart([height for height, _ in ends], 1.25 * FONT / (PANEL[1] - 60))
    for height, (_, line) in zip(heights, ends, strict=True):
        beside: dict[str, Any] = {"color": line.look.colour, "va": "center", "transform": panel.transAxes}
        panel.text(1.02, height, short(line.name), **beside)


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Sorted places, moved as little as it takes to be `gap` apart: neighbours that are too close move as one."""
    clusters: list[list[float]] = []
    for height in heights:
        clusters.append([height])
        while len(clusters) > 1 and _low(clusters[-1], gap) - _low(clusters[-2], gap) < gap * len(clusters[-2]):
            last = clusters.pop()
            clusters[-1] += last
    return [_low(cluster, gap) + number * gap for cluster in clusters for number in range(len(cluster))]


def _low(cluster: Sequence[float], gap: float) -> float:
    return sum(cluster) / len(cluster) - gap * (len(cluster) - 1) / 2


def bars(
    name: str, alt: str, rows: Sequence[Row], label: str, width: float = PANEL[0], with_parts: bool = True
) -> Markup:
    """Bars of parts below each other; parts with room for it carry their name and figure."""
    with style():
        height = ROW * len(rows) + 46
        figure = blank(width, height)
        panel = figure.subplots()
        longest = max((sum(value for _, value, _ in row.parts) for row in rows), default=1.0) or 1.0
        for at, row in enumerate(rows):
            if not row.parts:
                panel.text(0, at + 0.1, short(row.label, 60), fontweight="bold", va="center", color=INK)
            _bar(panel, at, row, longest, 0.8 * width if with_parts else 0)
        labels = [short(row.label, 22) if row.parts else "" for row in rows]
        panel.set_yticks(range(len(rows)), labels, color=INK)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        ends = max((len(row.end) for row in rows), default=0)
        panel.set_xlim(0, longest * (1 + 0.011 * ends * PANEL[0] / width))
        _scale(panel.xaxis, Scale(label), [])
        panel.grid(axis="x")
        return inline_svg(figure, name, alt)


def _bar(panel: Axes, at: int, row: Row, longest: float, pixels: float) -> None:
    left = 0.0
    for part, value, colour in row.parts:
        panel.barh(at, value, left=left, height=0.72, color=colour, edgecolor="none")
        room = pixels * value / longest
        figure = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
        text = next((each for each in (f"{short(part)} {figure}", figure) if 6.2 * len(each) < room), "")
        if text:
            colour_of_text = SOFT if colour == WAIT else ON_FILL
            panel.text(left + value / 2, at, text, ha="center", va="center", color=colour_of_text, fontsize=10)
        left += value
    if row.end:
        panel.annotate(row.end, (left, at), xytext=(5, 0), textcoords="offset points", va="center", color=INK)


def dots(name: str, alt: str, rows: Sequence[str], series: Sequence[Line], x: Scale) -> Markup:
    """A row for each name; `points` of a series are (x, number of the row), `refused` numbers of rows."""
    with style():
        figure = blank(PANEL[0], 38.0 * len(rows) + 56)
        panel = figure.subplots()
        values = [value for line in series for value, _ in line.points]
        for at in range(len(rows)):
            own = [value for line in series for value, row in line.points if row == at]
            if own:
                panel.plot([min(own), max(own)], [at, at], color=LINE, linewidth=3, zorder=0)
        for line in series:
            across, down = [value for value, _ in line.points], [row for _, row in line.points]
            panel.plot(across, down, line.look.marker, color=line.look.colour, markersize=8, clip_on=False)
            for row in line.refused:
                panel.plot(
                    [1.02], [row], "x", color=line.look.colour, transform=panel.get_yaxis_transform(), clip_on=False
                )
        _scale(panel.xaxis, x, values)
        panel.set_yticks(range(len(rows)), [short(row, 22) for row in rows], color=INK)
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.grid(axis="x")
        return inline_svg(figure, name, alt)


def tradeoff_svg(name: str, alt: str, found: Sequence[Mapping[str, Any]]) -> Markup:
    """`draw_tradeoff` for the page."""
    with style():
        figure = blank(PANEL[0], 340)
        draw_tradeoff(figure.subplots(), found)
        return inline_svg(figure, name, alt)


def draw_tradeoff(panel: Axes, found: Sequence[Mapping[str, Any]]) -> None:
    """What is left of the task against what an attacker gets, for one task's lines of `python -m benchmarks.privacy`.

    Each line has "defence", "strongest" (the best attack's AUC) and "task AUC".
    """
    for family, look in FAMILIES.items():
        own = sorted((line for line in found if line["defence"].startswith(family)), key=lambda each: each["strongest"])
        x, y = ([line[key] for line in own] for key in ("strongest", "task AUC"))
        if own:
            panel.plot(x, y, color=look.colour, marker=look.marker, label=f"{family} noise")
        for line in own:
            strength = short(line["defence"].removeprefix(family), 8).strip()
            at = (line["strongest"], line["task AUC"])
            offset: dict[str, Any] = {
                "xytext": (0, 6 if family == "Marvell" else -13),
                "textcoords": "offset points",
                "ha": "center",
            }
            if line["strongest"] < CROWDED:
                panel.annotate(strength, at, fontsize=10, color=look.colour, **offset)
    for line in found:
        if look_of := SINGLES.get(line["defence"]):
            label = "no noise" if line["defence"] == "nothing" else line["defence"]
            at = (line["strongest"], line["task AUC"])
            panel.plot(*at, look_of.marker, color=look_of.colour, markersize=8, label=label, linestyle="none")
    _scale(panel.xaxis, Scale("AUC of the strongest attack on the labels (0.5: nothing, 1: all)"), [])
    _scale(panel.yaxis, Scale("AUC of the task"), [])
    panel.set_xlim(0.48, 1.02)
    panel.grid(axis="y")
    panel.legend(loc="lower right", labelcolor=INK)
