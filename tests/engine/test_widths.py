"""What the layers' widths become of a script's wish and a run's option."""

from __future__ import annotations

import pytest

from secure_hfl.engine.widths import Asked, with_option


@pytest.mark.parametrize(
    ("in_script", "option", "asked"),
    [
        (None, None, None),
        (None, True, True),
        (None, False, False),
        ({"b": 5}, True, {"b": 5}),
        (5, True, 5),
        (False, True, True),
        ({"b": 5}, False, False),
        ({"b": 5}, None, {"b": 5}),
    ],
)
def test_an_option_says_whether_and_the_script_how_wide(in_script: Asked, option: bool | None, asked: Asked) -> None:
    assert with_option(in_script, option) == asked
