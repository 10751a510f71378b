"""The console's words: a folder a language, a file a page. `{name}` in a sentence is filled in where it is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}
DEFAULT = "en"
_HERE = Path(__file__).parent
_GAPS = {"rounds": r"(?P<rounds>[0-9]+) rounds?", "epsilon": r"(?P<epsilon>[0-9.e+-]+)"}


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Every sentence of a language, under "page.name"."""
    return {
        f"{path.stem}.{name}": sentence
        for path in sorted((_HERE / language).glob("*.json"))
        for name, sentence in json.loads(path.read_text("utf-8")).items()
    }


@cache
def ledger_sentences(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The sentences of the leakage ledger as they are found in English, with the names in them, and in a language."""
    path = _HERE / f"ledger.{language}.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return tuple((_filled(english), sentence) for english, sentence in known.items())


def _filled(english: str) -> re.Pattern[str]:
    """What a sentence with gaps may have become; every gap is the same wherever it comes again."""
    seen: set[str] = set()

    def gap(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return _GAPS.get(name, f"(?P<{name}>.+?)")

    return re.compile(re.sub(r"\\\{(\w+)\\\}", gap, re.escape(english)), re.DOTALL)


def chosen(*wishes: str | None) -> str:
    """The language of the first wish that there is: a code, or a browser's list ("zh-CN,zh;q=0.9,en;q=0.8")."""
    for wish in wishes:
        for part in (wish or "").split(","):
            code = part.partition(";")[0].strip().partition("-")[0].lower()
            if code in LANGUAGES:
                return code
    return DEFAULT


class Words:
    """The sentences of one language, as templates call them: `t("tasks.title")`, `t("tasks.count", n=3)`."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        """The sentence, with its gaps filled. Raises `KeyError` for one that nobody wrote."""
        sentence = catalogue(self.language)[key]
        return sentence.format(**values) if values else sentence

    def has(self, key: str) -> bool:
        """Whether there is such a sentence."""
        return key in catalogue(self.language)

    def learned(self, sentence: str) -> str:
        """A sentence of the leakage ledger. In English where nobody has translated it: of a scheme from elsewhere."""
        for pattern, translated in ledger_sentences(self.language):
            if match := pattern.fullmatch(sentence):
                return translated.format(**match.groupdict())
        return sentence
