"""Charts: axes that can be read, whatever the numbers, and text that stays text."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from markupsafe import Markup

from secure_hfl.live.charts import MAX_POINTS, Titles, bar_chart, line_chart, share_bar, thinned, ticks

TITLES = Titles("loss", "Loss <b>", 'of "batches" & more', "round")
SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup: Markup) -> ET.Element:
    """As a browser reads it; in its namespace."""
    return ET.fromstring(str(markup).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))  # noqa: S314 - our own


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (2.3, 2.31), (-1.0, 1.0), (0.0, 1e12), (1e-9, 2e-9), (5.0, 5.0), (0.0, 0.0), (-3.0, -3.0), (0.0, 7.0)],
)
def test_marks_are_round_few_and_around_the_values(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low + abs(low) * 1e-9
    assert marks[-1] >= high - abs(high) * 1e-9
    assert 2 <= len(marks) <= 8
    assert all(math.isclose(after - before, marks[1] - marks[0], rel_tol=1e-3) for before, after in pairwise(marks))


def test_no_numbers_are_no_error() -> None:
    assert ticks(math.nan, 1.0) == [0.0, 1.0]
    for chart in (
        line_chart(TITLES, [], 1.0, str),
        bar_chart(TITLES, {}, ["sent"], str),
        share_bar(TITLES, [], str),
        bar_chart(TITLES, {1: [0.0]}, ["sent"], str),
    ):
        assert parsed(chart).find(f"{SVG}title") is not None


def test_a_long_line_is_thinned_and_ends_where_it_ends() -> None:
    points = [(at / 100, float(at)) for at in range(10_000)]
    few = thinned(points)
    assert len(few) <= MAX_POINTS
    assert few[-1] == points[-1]
    assert few[0][1] > 0, "a mean"
    assert thinned(points[:5]) == points[:5]


def test_a_chart_says_what_it_is_and_text_is_text() -> None:
    figure = parsed(line_chart(TITLES, [(0.5, 2.0), (1.0, 1.0), (2.0, 0.25)], 2, lambda value: f"<{value:g}>", True))
    assert figure.get("role") == "img"
    assert figure.get("aria-labelledby") == "loss-title loss-desc"
    assert [figure.findtext(f"{SVG}title"), figure.findtext(f"{SVG}desc")] == ["Loss <b>", 'of "batches" & more']
    assert figure.findall(f".//{SVG}b") == []
    assert "style" not in {name for each in figure.iter() for name in each.attrib}
    assert [dot.findtext(f"{SVG}title") for dot in figure.iter(f"{SVG}circle")] == ["0.5: <2>", "1: <1>", "2: <0.25>"]


def test_everything_is_within_the_picture() -> None:
    line = parsed(line_chart(TITLES, [(at / 7, math.sin(at)) for at in range(300)], 43, "{:.2f}".format))
    bars = parsed(bar_chart(TITLES, {at: [at * 1e6, 5e5] for at in range(3, 90)}, ["a", "b"], "{:.0f}".format))
    for figure in (line, bars):
        _, _, width, height = map(float, (figure.get("viewBox") or "").split())
        for shape in figure.iter():
            for name, most in (("x", width), ("cx", width), ("x2", width), ("y", height), ("cy", height)):
                if (value := shape.get(name)) is not None:
                    assert -6.0 <= float(value) <= most
        for pair in " ".join(each.get("points") or "" for each in figure.iter(f"{SVG}polyline")).split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_parts_of_a_whole_have_their_shares() -> None:
    figure = parsed(share_bar(TITLES, [("wait", 30.0), ("encrypt", 10.0)], "{:g} s".format))
    parts = list(figure.iter(f"{SVG}rect"))
    assert [part.findtext(f"{SVG}title") for part in parts] == ["wait: 30 s (75%)", "encrypt: 10 s (25%)"]
    widths = [float(part.get("width") or 0) for part in parts]
    assert widths[0] / widths[1] == pytest.approx(3, rel=0.02)
