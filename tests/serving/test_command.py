"""`secure-hfl serve`: options that belong together, and what is missing, are said before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.scripts.tiny import make
from protocols.core.errors import MissingExtra
from secure_hfl.cli.predict import serve
from secure_hfl.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token_file": Path("token")}, "are for --http"),
        ({"allow_remote": True}, "are for --http"),
        ({"wait": 3.0}, "are for --http"),
        ({"http": "127.0.0.1:0", "sessions": 2}, "--sessions is for a Collaborator"),
    ],
    ids=["token", "remote", "wait", "sessions"],
)
def test_options_that_do_not_belong_together(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        serve(Path("script.py"), **options)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("secure_hfl.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    host: Any = make({"index": 0})
    with pytest.raises(MissingExtra, match=r"--http needs uvicorn: pip install 'secure-hfl\[http\]'"):
        host.serve_predictions()


def test_nothing_is_served_so_nothing_stops() -> None:
    for index in (0, 1):
        party: Any = make({"index": index})
        party.stop_serving()
