"""Pages that this program writes: the audit, the benchmark. One file each, no scripts, nothing from elsewhere.

All markup stands in the templates beside this file. What pages show may come from somebody hostile: a transcript, a
peer's names. Whatever a template shows that is not markup of another template is text: one line, no control or
direction characters, escaped. The page's own policy forbids scripts and every request, should something slip through.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from secure_hfl.cli.output import one_line

_HERE = Path(__file__).parent


def _as_shown(value: object) -> object:
    return value if hasattr(value, "__html__") else one_line(str(value))


def templates_in(directory: Path) -> Environment:
    """Templates of a directory, or else of this one, in which what is not markup is shown as text, on one line."""
    return Environment(
        loader=FileSystemLoader([directory, _HERE]),
        autoescape=True,
        finalize=_as_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_TEMPLATES = templates_in(_HERE)


class _Pieces:
    """The macros of pieces.html.j2, by name. What they are given is text, unless another one returned it."""

    def __getattr__(self, name: str) -> Callable[..., Markup]:
        macro: Callable[..., Markup] = getattr(_TEMPLATES.get_template("pieces.html.j2").module, name)
        return macro


pieces = _Pieces()


def page(template: str, css: str = "", *, has_pictures: bool = False, **values: object) -> str:
    """A whole page.

    Args:
        template: its name; it extends base.html.j2.
        css: rules after those that all pages have.
        has_pictures: allow pictures that are in the page itself.
        values: what the template shows.
    """
    rules = stylesheet("style") + css
    digest = base64.b64encode(hashlib.sha256(rules.encode()).digest()).decode()
    return _TEMPLATES.get_template(template).render(
        # Our own files, and what the policy holds the browser to.
        css=Markup(rules),  # noqa: S704
        digest=digest,
        has_pictures=has_pictures,
        **values,
    )


def stylesheet(name: str) -> str:
    """The rules of one file beside this one."""
    return (_HERE / f"{name}.css").read_text(encoding="ascii")
