"""The console's words: a folder a language, a file a page. `{name}` in a sentence is filled in where it is shown.

en/, zh/        what the pages say, by page and name
said/zh/        what the rest of the program says, by its English
kinds/zh.json   what an error means, by its class
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from protocols.core.sentence import Sentence, text_of

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}
DEFAULT = "en"
_HERE = Path(__file__).parent


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Every sentence of a language, under "page.name"."""
    return {
        f"{path.stem}.{name}": sentence
        for path in sorted((_HERE / language).glob("*.json"))
        for name, sentence in json.loads(path.read_text("utf-8")).items()
    }


@cache
def sentences(language: str) -> Mapping[str, str]:
    """What the rest of the program says, by its English, gaps and all: ledger, report of an audit, checks, errors."""
    paths = sorted((_HERE / "said" / language).glob("*.json"))
    return {english: said for path in paths for english, said in json.loads(path.read_text("utf-8")).items()}


@cache
def kinds(language: str) -> Mapping[str, str]:
    """What an error of a kind means and what to do, by the name of its class; for texts that nobody has translated."""
    path = _HERE / "kinds" / f"{language}.json"
    found: Mapping[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


class Explained(NamedTuple):
    """An error in the language of who reads it, and its English text where that one says more."""

    text: str
    english: str


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

    def said(self, text: str) -> str:
        """A sentence of the program; as it is where nobody has translated it: of a scheme from elsewhere, or a name."""
        known = sentences(self.language)
        if not isinstance(text, Sentence):
            return known.get(text, text)
        translated = known.get(text.template)
        if translated is None:
            return str(text)
        return translated.format(**{name: self._filled_in(value) for name, value in text.values.items()})

    def _filled_in(self, value: object) -> object:
        """What stands in a gap: a sentence is said, too; a single word is left, for it may be somebody's name."""
        return self.said(value) if isinstance(value, str) and (isinstance(value, Sentence) or " " in value) else value

    def explained(self, problem: Exception | str, kind: str = "") -> Explained:
        """An error.

        Args:
            problem: it, or what it said.
            kind: name of its class, where only its text is here.
        """
        text = problem if isinstance(problem, str) else text_of(problem)
        said, known = self.said(text), kinds(self.language)
        if self.language == DEFAULT or said != text:
            return Explained(_begun(said), "")
        names = [kind or getattr(problem, "kind", ""), *(each.__name__ for each in type(problem).__mro__)]
        meaning = next((known[name] for name in names if name in known), "")
        return Explained(meaning, _begun(text))


def _begun(text: str) -> str:
    """With a capital, as a sentence begins; names of files and values stay as they are."""
    is_word = text.partition(" ")[0].isalpha() and " " in text
    return text[:1].upper() + text[1:] if is_word else text
