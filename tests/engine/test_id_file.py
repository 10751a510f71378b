"""Ids on the disk: what was written comes back, and what no set may hold is refused as in a list."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest

from protocols.core.errors import InvalidInput
from protocols.psi.ids import check_ids
from secure_hfl.engine import id_file
from secure_hfl.engine.id_file import id_chunks, written

IDS = [f"pätient-{i}" for i in range(100)]


@pytest.mark.parametrize(
    "source",
    [
        IDS,
        tuple(IDS),
        np.array(IDS),
        np.array(IDS, dtype=object),
        pyarrow.array(IDS),
        pyarrow.chunked_array([IDS[:30], IDS[30:]]),
        dict.fromkeys(IDS).keys(),
    ],
    ids=lambda source: type(source).__name__,
)
def test_ids_of_any_kind_come_back(tmp_path: Path, source: Any) -> None:
    ids = written(tmp_path / "ids", id_chunks(source, 7))
    assert list(ids) == IDS
    assert len(ids) == 100
    assert [path.name for path in tmp_path.iterdir()] == ["ids"]
    assert stat.S_IMODE(ids.path.stat().st_mode) == 0o600


def test_a_generator_is_read_once_and_in_pieces(tmp_path: Path) -> None:
    assert list(written(tmp_path / "ids", id_chunks((each for each in IDS), 7))) == IDS
    assert sorted(written(tmp_path / "ids", id_chunks(set(IDS), 7))) == sorted(IDS)


@pytest.mark.parametrize("source", ["abc", b"abc", {"a": 1}, 7, None], ids=lambda source: type(source).__name__)
def test_what_is_no_list_of_ids(source: Any) -> None:
    with pytest.raises(InvalidInput, match="must return a list of text ids"):
        list(id_chunks(source))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    "ids",
    [
        [*IDS, "x", "y", "x"],
        ["Zo\u00eb", *IDS, "Zoe\u0308"],
        [*IDS, ""],
        [*IDS, 7],
        [*IDS, None],
        [*IDS, "x" * 1025],
        [*IDS, "\ud800"],
    ],
    ids=["repeated", "repeated in another spelling", "empty", "a number", "nothing", "too long", "no Unicode"],
)
def test_refused_with_the_words_of_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: list[Any], parts: int
) -> None:
    monkeypatch.setattr(id_file, "HASHES_AT_ONCE", -(-len(ids) // parts))
    with pytest.raises(InvalidInput) as as_a_list:
        check_ids(ids)
    with pytest.raises(InvalidInput) as in_a_file:
        written(tmp_path / "ids", id_chunks(ids, 7))
    assert str(in_a_file.value) == str(as_a_list.value)
    assert not (tmp_path / "ids.hashes").exists()


def test_hashes_that_agree_are_no_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_file, "_repeats", lambda *of: np.array([hash(each) for each in IDS]))
    assert len(written(tmp_path / "ids", id_chunks(IDS))) == 100
