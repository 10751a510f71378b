"""Pages that this program writes: the audit, the benchmark. One file each, no scripts, nothing from elsewhere.

What they show may come from somebody hostile: a transcript, a peer's names. Whatever goes through `text` is text, and
the page's own policy forbids scripts and every request, should something slip through.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from secure_hfl.cli.output import one_line

_CSS = Path(__file__).with_suffix(".css")


def document(title: str, heading: str, body: str, made_by: str, *, css: str = "", has_pictures: bool = False) -> str:
    """A whole page.

    Args:
        title: text.
        heading: text, after the program's name.
        body: HTML.
        made_by: HTML.
        css: rules after those that all pages have.
        has_pictures: allow pictures that are in the page itself.
    """
    css = _CSS.read_text(encoding="ascii") + css
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    pictures = " img-src data:;" if has_pictures else ""
    policy = f"default-src 'none'; style-src 'sha256-{digest}';{pictures} base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{css}</style></head>"
        f"<body><main><h1>secure-hfl &middot; {text(heading)}</h1>{body}"
        f"<footer>{made_by}</footer></main></body></html>\n"
    )


def text(value: object) -> str:
    """Text for the page, whoever wrote it: one line, no control or direction characters, escaped."""
    return escape(one_line(str(value)), quote=True)


def section(anchor: str, heading: str, content: str) -> str:
    """Nothing, if there is no content."""
    return f'<section id="{anchor}"><h2>{text(heading)}</h2>{content}</section>' if content else ""


def small(sentence: str) -> str:
    """A note."""
    return f'<p class="small soft">{text(sentence)}</p>' if sentence else ""


def cell(value: object, kind: str = "") -> str:
    """A cell of a table; of kind "number", to the right."""
    return f'<td class="{kind}">{text(value)}</td>' if kind else f"<td>{text(value)}</td>"


def table(headings: Sequence[str], rows: Iterable[str], kind: str = "") -> str:
    """`rows` are cells in HTML; nothing without any. Headings that end in # are of numbers."""
    cells = "".join(
        f'<th scope="col" class="number">{text(name[:-1])}</th>'
        if name.endswith("#")
        else f'<th scope="col">{text(name)}</th>'
        for name in headings
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll {kind}"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
        if body
        else ""
    )
