"""The token: made once, kept for its owner, compared whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from secure_hfl.errors import ConfigurationError
from secure_hfl.serving import token as module
from secure_hfl.serving.token import Token, read_or_make


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    made, again = read_or_make(path), read_or_make(path)
    assert (made.is_new, again.is_new) == (True, False)
    assert len(made.reveal()) == 64
    assert again.reveal() == made.reveal()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make(tmp_path / "other").reveal() != made.reveal()
    assert made.reveal() not in repr(made) + str(vars(made).get("is_new"))


def test_it_fits_itself_alone_and_the_comparison_is_the_constant_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(module, "compare_digest", compare)
    token = Token("a" * 40)
    assert token.fits("Bearer " + "a" * 40)
    assert token.fits("bearer  " + "a" * 40)
    for wrong in (None, "", "Bearer", "Bearer " + "a" * 39, "Bearer " + "a" * 41, "Basic " + "a" * 40):
        assert not token.fits(wrong)
    assert compared[0] == (b"a" * 40, b"a" * 40)


@pytest.mark.parametrize("text", ["", "short", "a b" * 20, "a" * 31, "a" * 513, "\u00e9" * 40])
def test_a_token_that_is_none_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        read_or_make(path)
    assert not text or text not in str(caught.value).replace("a token", "")


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a" * 40)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="run chmod 600"):
        read_or_make(path)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_or_make(tmp_path / "no" / "token")
