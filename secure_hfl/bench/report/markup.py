"""Pieces of the report's page, beside those of every page. SVG and HTML come from the report itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from secure_hfl.bench.report.plots import Look
from secure_hfl.html_page import cell, small, table, text


def numbers(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """What a figure shows, as a table to unfold. The first column is text, the others are numbers."""
    body = (cell(row[0]) + "".join(cell(value, "number") for value in row[1:]) for row in rows)
    inner = table([headings[0], *(f"{name}#" for name in headings[1:])], body, "narrow")
    return f"<details><summary>The numbers</summary>{inner}</details>" if inner else ""


def figure(title: str, drawn: str, note: str = "", below: str = "") -> str:
    """One plot under the sentence that says what to see in it."""
    return f"<figure><figcaption>{text(title)}</figcaption>{drawn}{below}{small(note)}</figure>"


def plots(figures: Iterable[str]) -> str:
    """Side by side where there is room."""
    inner = "".join(figures)
    return f'<div class="plots">{inner}</div>' if inner else ""


def bar(part: float, colour: str) -> str:
    """A bar for a cell of a table, `part` of its width."""
    width = max(100 * min(part, 1.0), 0.7)
    rect = f'<rect width="{width:.1f}" height="6" rx="1" fill="{colour}"/>'
    return f'<svg class="plot cell" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">{rect}</svg>'


_SHAPES = {
    "o": '<circle cx="12" cy="6" r="4" fill="{0}"/>',
    "s": '<rect x="8.2" y="2.2" width="7.6" height="7.6" fill="{0}"/>',
    "^": '<path d="M12 1.5 16.5 10H7.5z" fill="{0}"/>',
    "v": '<path d="M12 10.5 16.5 2H7.5z" fill="{0}"/>',
    "<": '<path d="M7.5 6 16 1.5v9z" fill="{0}"/>',
    ">": '<path d="M16.5 6 8 1.5v9z" fill="{0}"/>',
    "D": '<path d="M12 1 17 6 12 11 7 6z" fill="{0}"/>',
    "P": '<path d="M10 2h4v2h2v4h-2v2h-4v-2h-2v-4h2z" fill="{0}"/>',
    "X": '<path d="M8 3l1-1 3 3 3-3 1 1-3 3 3 3-1 1-3-3-3 3-1-1 3-3z" fill="{0}"/>',
    "": '<rect x="5" y="0.5" width="13" height="11" rx="2" fill="{0}"/>',
}


def swatch(look: Look) -> str:
    """Its colour and marker."""
    dashes = ' stroke-dasharray="4 2"' if look.is_dashed else ""
    line = f'<path d="M0 6h24" stroke="{look.colour}" stroke-width="2"{dashes}/>' if look.marker else ""
    shape = _SHAPES.get(look.marker, _SHAPES["o"]).format(look.colour)
    return f'<svg class="plot swatch" viewBox="0 0 24 12" aria-hidden="true">{line}{shape}</svg>'


def legend(entries: Iterable[tuple[str, Look]]) -> str:
    """What is what, in as many lines as it takes."""
    items = "".join(f"<li>{swatch(look)}{text(name)}</li>" for name, look in entries)
    return f'<ul class="legend">{items}</ul>' if items else ""
