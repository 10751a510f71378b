"""The console's words: a folder a language, a file a page. `{name}` in a sentence is filled in where it is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

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
