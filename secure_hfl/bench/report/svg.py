"""A matplotlib figure as inline SVG that a strict policy allows and that follows the page from light to dark.

matplotlib writes `style` attributes, which a policy without 'unsafe-inline' ignores, ids that are the same in every
figure, and fixed colours. Here styles become presentation attributes, ids begin with the figure's name or go, and
`THEME` gives each colour of the plots a second one for dark screens; `theme_rules` are CSS that exchanges them. Text
stays text, in the page's own font.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

from secure_hfl.errors import ConfigurationError
from secure_hfl.pages import pieces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1b2330", "#5b6675", "#e1e5ea"
"""Text and what matters; axes and small print; grid lines."""

ON_FILL = "#141b26"
"""Text on a bar: the bar stays pale on a dark screen, and so must this stay dark."""

WAIT = "#e9edf2"
GREY, SLATE, GREEN, BLUE, ORANGE = "#8b95a3", "#5f6c7d", "#00795c", "#1566c0", "#c2410c"
PURPLE, OCHRE, ROSE = "#8e3a9d", "#8a6d00", "#b0305f"
"""Of series; each can be read as text too."""

THEME = {
    INK: "#e4e9f0",
    SOFT: "#a3adbb",
    LINE: "#2c3542",
    WAIT: "#2a3340",
    GREY: "#7d8896",
    SLATE: "#a7b2c0",
    GREEN: "#4ccfa5",
    BLUE: "#74b4ff",
    ORANGE: "#ff9a6b",
    PURPLE: "#d793e6",
    OCHRE: "#dcbb4d",
    ROSE: "#ff8fb4",
}
"""Colour on a light screen and on paper: on a dark screen."""

FONT = 11.5
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_DROPPED = ("font", "font-family")
"""The page has its own; older releases of matplotlib write all of a font in one."""


def require_matplotlib() -> None:
    """Raises ConfigurationError, which says how to install it, if it is not there. It is asked for before measuring."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConfigurationError("the report needs matplotlib: pip install 'secure-hfl[bench]'") from None


def theme_rules() -> str:
    """CSS: every colour of the theme as a variable, and each attribute that names one."""
    names = {light: f"--plot-{light[1:]}" for light in THEME}
    light = "".join(f"{name}:{colour};" for colour, name in names.items())
    dark = "".join(f"{names[colour]}:{other};" for colour, other in THEME.items())
    rules = "".join(
        f'.plot [{kind}="{colour}"]{{{kind}:var({name})}}'
        for colour, name in names.items()
        for kind in ("fill", "stroke")
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}{rules}"


@contextmanager
def style() -> Iterator[None]:
    """How the plots look: little ink, and text that is never read as mathematics."""
    require_matplotlib()
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "secure-hfl",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.size": FONT,
        "axes.titlesize": FONT,
        "axes.labelsize": FONT,
        "xtick.labelsize": FONT,
        "ytick.labelsize": FONT,
        "legend.fontsize": FONT,
        "text.color": INK,
        "axes.labelcolor": SOFT,
        "axes.edgecolor": SOFT,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.axisbelow": True,
        "grid.color": LINE,
        "grid.linewidth": 1.0,
        "lines.linewidth": 1.8,
        "lines.markersize": 6.0,
        "legend.frameon": False,
        "hatch.linewidth": 1.0,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever the user has set for plots of their own
        matplotlib.rcParams.update(settings)
        warnings.simplefilter("ignore", UserWarning)  # a name in a script that its font does not have
        yield


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many CSS pixels. To be made and drawn inside `style`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), layout="constrained")


def inline_svg(figure: Figure, name: str, alt: str) -> Markup:
    """The figure for a page. `name` is its own on the page, of letters and digits; `alt` says what it shows."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue().encode())  # noqa: S314 - written by matplotlib a moment ago
    _clean(root)
    used = _used_ids(root)
    for element in root.iter():
        _as_attributes(element)
        _rename(element, used, name)
    width, height = root.get("viewBox", "0 0 0 0").split()[2:]
    ElementTree.register_namespace("", _SVG)
    content = "".join(ElementTree.tostring(child, encoding="unicode") for child in root).replace(f' xmlns="{_SVG}"', "")
    content = content.replace("\n", " ").replace("  ", "")
    return pieces.plot(width, height, alt, Markup(content))  # noqa: S704 - serialised by ElementTree, which escapes


def _clean(root: ElementTree.Element) -> None:
    """Metadata, and the style element, of which two line joins are all that is lost."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)


def _used_ids(root: ElementTree.Element) -> set[str]:
    used = set()
    for element in root.iter():
        for value in element.attrib.values():
            used |= {value[1:]} if value.startswith("#") else set()
            used |= {part.split(")")[0] for part in value.split("url(#")[1:]}
    return used


def _as_attributes(element: ElementTree.Element) -> None:
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if key.strip() and key.strip() not in _DROPPED:
            element.set(key.strip(), value.strip())
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]


def _rename(element: ElementTree.Element, used: set[str], name: str) -> None:
    link = element.attrib.pop(f"{{{_XLINK}}}href", "")
    if link:
        element.set("href", f"#{name}-{link[1:]}")
    own = element.attrib.pop("id", "")
    if own in used:
        element.set("id", f"{name}-{own}")
    for key, value in element.attrib.items():
        if "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))
