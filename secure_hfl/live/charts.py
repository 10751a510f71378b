"""Charts of a run as SVG: readable axes, a title and a description for who does not see them, no script, no style of
their own. Colours are classes, which the page's style sheet gives a meaning in light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

from markupsafe import Markup

WIDTH, HEIGHT = 320.0, 186.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 8.0, 10.0, 32.0
MAX_POINTS = 160
MAX_BARS = 40
TICKS = 4
_LABEL_SPACE = 34.0
"""Units between two numbers below the axis."""

Format = Callable[[float], str]


@dataclass(frozen=True)
class Titles:
    """What a chart says in words.

    Args:
        key: unique on the page; of ids.
        title: its name.
        description: what it shows now, for who cannot see it.
        x: what the axis below is; empty: there is none. Values are written with their units.
    """

    key: str
    title: str
    description: str
    x: str


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers from at most `low` to at least `high`, about `count` steps apart; two at least."""
    if not (isfinite(low) and isfinite(high)):
        return [0.0, 1.0]
    if high <= low:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    rough = (high - low) / count
    magnitude = 10.0 ** floor(log10(rough))
    step = next(factor * magnitude for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * magnitude >= rough * 0.999)
    first = floor(low / step + 1e-9)
    found = [first * step]
    while found[-1] < high - step * 1e-6:
        found.append((first + len(found)) * step)
    return found


def thinned(points: Sequence[tuple[float, float]], most: int = MAX_POINTS) -> list[tuple[float, float]]:
    """At most so many points: of neighbours, the mean. The last one stays as it is."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // (most - 1))
    found = []
    for begin in range(0, len(points) - 1, size):
        some = points[begin : min(begin + size, len(points) - 1)]
        found.append((sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)))
    return [*found, points[-1]]


def line_chart(
    titles: Titles,
    points: Sequence[tuple[float, float]],
    rounds: float,
    number: Format,
    has_dots: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Markup:
    """A line over rounds.

    Args:
        points: (rounds, value), from left to right.
        rounds: where the axis ends.
        number: how a value is written.
        has_dots: a dot for each point: there are few.
        bounds: of the values; default: as they are.
    """
    shown = points if has_dots else thinned(points)
    values = [value for _, value in shown]
    marks = ticks(*(bounds or (min(values, default=0.0), max(values, default=1.0))))
    across = _across(rounds)
    up = _up(marks[0], marks[-1])
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in shown)
    pieces = [*_y_axis(marks, up, number), *_x_axis(rounds, across)]
    if len(shown) > 1:
        pieces.append(Markup('<polyline class="line" points="{}"/>').format(path))
    if has_dots or len(shown) == 1:
        pieces += [_dot(across(x), up(y), f"{x:g}: {number(y)}") for x, y in shown]
    else:
        pieces += _hit_areas(shown, across, number)
    return _figure(titles, pieces)


def bar_chart(
    titles: Titles, bars: Mapping[int, Sequence[float]], kinds: Sequence[str], number: Format, unit: float = 1.0
) -> Markup:
    """A bar of several kinds on each other for each round.

    Args:
        bars: a value for each kind, by round.
        kinds: what they are called.
        number: how a value is written.
        unit: round numbers of the axis are multiples of it.
    """
    rounds = sorted(bars)[-MAX_BARS:]
    highest = max((sum(bars[number]) for number in rounds), default=1.0)
    marks = [mark * unit for mark in ticks(0.0, (highest or 1.0) / unit)]
    up = _up(marks[0], marks[-1])
    first, last = (rounds[0], rounds[-1]) if rounds else (1, 1)
    slot = (WIDTH - LEFT - RIGHT) / max(last - first + 1, 4)
    width = min(30.0, slot * 0.7)
    pieces = _y_axis(marks, up, number)
    every = max(1, round(_LABEL_SPACE / slot + 0.499))
    for at in rounds:
        middle = LEFT + (at - first + 0.5) * slot
        base = 0.0
        said = ", ".join(f"{kind} {number(value)}" for kind, value in zip(kinds, bars[at], strict=True))
        inner = []
        for kind, value in enumerate(bars[at]):
            top, bottom = up(base + value), up(base)
            base += value
            inner.append(
                Markup('<rect class="bar kind{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                    kind + 1, f"{middle - width / 2:.1f}", f"{top:.1f}", f"{width:.1f}", f"{max(bottom - top, 0):.1f}"
                )
            )
        pieces.append(Markup("<g><title>{}: {}</title>{}</g>").format(at, said, Markup("").join(inner)))
        if (at - first) % every == 0:
            pieces.append(_text(middle, HEIGHT - BOTTOM + 14, str(at), "middle"))
    return _figure(titles, pieces)


def share_bar(titles: Titles, shares: Sequence[tuple[str, float]], number: Format) -> Markup:
    """One bar, cut in parts. The names and numbers beside it are the page's.

    Args:
        shares: name and value of each part.
        number: how a value is written.
    """
    total = sum(value for _, value in shares) or 1.0
    x, pieces = 0.0, []
    for kind, (name, value) in enumerate(shares, 1):
        width = WIDTH * value / total
        pieces.append(
            Markup('<rect class="bar kind{}" x="{}" y="0" width="{}" height="22"><title>{}</title></rect>').format(
                kind, f"{x:.2f}", f"{max(width - 1.5, 0.2):.2f}", f"{name}: {number(value)} ({value / total:.0%})"
            )
        )
        x += width
    return _figure(titles, pieces, height=22.0)


# Pieces --------------------------------------------------------------------------------------------------------------


def _figure(titles: Titles, pieces: Sequence[Markup], height: float = HEIGHT) -> Markup:
    axes = (
        Markup("{}{}").format(
            Markup('<text class="axis-name" x="{}" y="{}" text-anchor="end">{}</text>').format(
                f"{WIDTH - RIGHT:g}", f"{height - 4:g}", titles.x
            ),
            Markup('<line class="base" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                f"{LEFT:g}", f"{WIDTH - RIGHT:g}", f"{height - BOTTOM:g}", f"{height - BOTTOM:g}"
            ),
        )
        if titles.x
        else Markup("")
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{title}</title><desc id="{key}-desc">{desc}</desc>{pieces}{axes}</svg>'
    ).format(
        w=f"{WIDTH:g}",
        h=f"{height:g}",
        key=titles.key,
        title=titles.title,
        desc=titles.description,
        pieces=Markup("").join(pieces),
        axes=axes,
    )


def _across(rounds: float) -> Callable[[float], float]:
    return lambda x: LEFT + (WIDTH - LEFT - RIGHT) * x / max(rounds, 1.0)


def _up(low: float, high: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda y: HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (y - low) / span


def _y_axis(marks: Sequence[float], up: Callable[[float], float], number: Format) -> list[Markup]:
    return [
        Markup('<line class="rule" x1="{}" x2="{}" y1="{y}" y2="{y}"/>{}').format(
            f"{LEFT:g}", f"{WIDTH - RIGHT:g}", _text(LEFT - 6, up(mark) + 3.5, number(mark), "end"), y=f"{up(mark):.1f}"
        )
        for mark in marks
    ]


def _x_axis(rounds: float, across: Callable[[float], float]) -> list[Markup]:
    last = max(1, round(rounds))
    room = max(1.0, (WIDTH - LEFT - RIGHT) / _LABEL_SPACE)
    step = max(1, round(ticks(0, last, round(room))[1])) if last > room else 1
    return [_text(across(at), HEIGHT - BOTTOM + 14, str(at), "middle") for at in range(0, last + 1, step)]


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(f"{x:.1f}", f"{y:.1f}", anchor, text)


def _dot(x: float, y: float, said: str) -> Markup:
    return Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"><title>{}</title></circle>').format(
        f"{x:.1f}", f"{y:.1f}", said
    )


def _hit_areas(points: Sequence[tuple[float, float]], across: Callable[[float], float], number: Format) -> list[Markup]:
    """Where a pointer rests, the value there."""
    some = points[:: max(1, len(points) // 40)]
    width = (WIDTH - LEFT - RIGHT) / max(len(some), 1)
    return [
        Markup('<rect class="hit" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            f"{across(x) - width / 2:.1f}",
            f"{TOP:g}",
            f"{width:.1f}",
            f"{HEIGHT - TOP - BOTTOM:g}",
            f"{x:.2f}: {number(y)}",
        )
        for x, y in some
    ]
