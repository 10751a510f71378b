"""The report as tests read it."""

from __future__ import annotations

import base64
import hashlib
import re

from secure_hfl.bench.model import Benchmark
from secure_hfl.bench.report.page import page
from tests.audit.helpers import Page


class Report(Page):
    """With images, which the audit's page has none of."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.handle_startendtag(tag, attrs)
        else:
            super().handle_starttag(tag, attrs)


def read(benchmark: Benchmark) -> Report:
    """Its page."""
    return check(page(benchmark))


def check(text: str) -> Report:
    """The page, which is always harmless, complete in itself, and has words for every picture."""
    seen = Report(text)
    assert not {"script", "iframe", "link", "object", "embed", "form", "base", "foreignobject"} & set(seen.tags)
    names = {name for name, _ in seen.attributes}
    assert not {name for name in names if name.startswith("on") or name in ("style", "xlink:href", "action")}
    assert all(value.startswith("data:image/png;base64,") for value in seen.values("src"))
    targets = [value for value in seen.values("href")]
    used = [value[1:] for value in targets]
    used += [part.split(")")[0] for _, value in seen.attributes for part in value.split("url(#")[1:]]
    ids = seen.values("id")
    assert all(value.startswith("#") for value in targets)
    assert len(ids) == len(set(ids))
    assert set(used) <= set(ids)
    assert "url(" not in seen.style
    assert "@import" not in seen.style
    digest = base64.b64encode(hashlib.sha256(seen.style.encode()).digest()).decode()
    assert seen.values("content")[0].startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    figures = text.count('role="img"')
    assert figures == len(seen.values("aria-label"))
    assert all(len(label) > 20 for label in seen.values("aria-label"))
    assert seen.tags.count("svg") == figures + seen.values("aria-hidden").count("true")
    assert all(seen.values("alt"))
    assert len(seen.values("alt")) == seen.tags.count("img")
    return seen


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table, as text."""
    found = []
    for table in re.findall(r"<table>(.*?)</table>", text, re.S):
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
        cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in rows]
        found.append([[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in cells])
    return found
