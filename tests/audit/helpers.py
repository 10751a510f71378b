"""Transcripts as files, of runs made in memory, and what a browser or a parser sees of a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from benchmarks.harness.pump import C, H
from tests.protocols.transcript.recorded_runs import key_of, rebuild, texts_of, transcripts
from tests.protocols.whole_task import Case

PLAIN, BFV, MASKED = Case("plain"), Case(), Case("masked", rounds=1)
_VOID = {"meta", "wbr", "link", "input", "br", "img"}


def write(directory: Path, case: Case = PLAIN) -> tuple[Path, Path]:
    """Both ends' transcripts of one run."""
    paths = directory / f"{case.scheme}-host.transcript", directory / f"{case.scheme}-patient.transcript"
    for path, data in zip(paths, transcripts(case), strict=True):
        path.write_bytes(data)
    return paths


def forged(case: Case, **agreed: object) -> bytes:
    """The host's transcript with other values in what was agreed on, by somebody who has both keys."""
    texts = texts_of(transcripts(case)[0])
    fields = json.loads(texts[1].partition(b" ")[2])
    fields.update(agreed)
    texts[1] = b"agreed " + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return rebuild(texts, key_of(H, C))


def with_one_byte_more(case: Case, kind: str) -> bytes:
    """The host's transcript with a wrong length of the first message of one type."""
    texts = texts_of(transcripts(case)[0])
    at = next(index for index, text in enumerate(texts) if text.split(b" ")[3:4] == [kind.encode()])
    fields = texts[at].split(b" ")
    fields[7] = str(int(fields[7]) + 1).encode()
    texts[at] = b" ".join(fields)
    return rebuild(texts, key_of(H, C))


class Page(HTMLParser):
    """Tags, attributes and text of a page, whose tags must be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text."""
        return " ".join(self.texts)

    def values(self, name: str) -> list[str]:
        """An attribute's values."""
        return [value for attribute, value in self.attributes if attribute == name]
