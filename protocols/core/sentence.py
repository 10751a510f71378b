"""A sentence that knows how it was put together, so that somebody who reads another language can be told the same.

Whoever only prints it has its English text: a `Sentence` is a `str`.
"""

from __future__ import annotations

from collections.abc import Mapping


class Sentence(str):
    """English text, and what it was made of.

    Args:
        template: with gaps as `str.format` has them.
        values: what fills them. Where one is a sentence itself, it has its own template.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, values: Mapping[str, object]) -> Sentence:
        made = super().__new__(cls, template.format(**values))
        made.template, made.values = template, values
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, object]]:  # type: ignore[override]
        return self.template, self.values


def say(template: str, /, **values: object) -> Sentence:
    """The sentence with its gaps filled."""
    return Sentence(template, values)


def text_of(error: Exception) -> str:
    """What an error says: a `Sentence` where it was raised with one. The name of its class where it says nothing."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, Sentence) and str(error) == first else str(error) or type(error).__name__
