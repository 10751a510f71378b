"""What is refused before any protocol runs: ids, arguments, and messages that cannot exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.core.randomness import SeededRandomness
from protocols.psi import (
    PsiDigests,
    PsiOpen,
    PsiPoints,
    PsiReceiver,
    PsiResult,
    PsiSender,
    check_ids,
    hash_ids,
    ids,
)
from protocols.psi.encode import domain, hash_to_field, pair_id

SESSION = bytes(range(32))


# --- ids and arguments


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([], ["0 sample ids"]),
        ("abc", ["sequence"]),
        ({"a"}, ["sequence", "set"]),
        (["a", 7], ["position 1", "int"]),
        (["a", b"b"], ["position 1", "bytes"]),
        ([None], ["position 0", "NoneType"]),
        (["a", "b", ""], ["position 2", "0 bytes"]),
        (["a", "x" * 1025], ["position 1", "1025"]),
        (["a", "\u00e9" * 513], ["position 1", "1026"]),
        (["a", "\ud800"], ["position 1", "surrogate"]),
        (["k-1", "k-2", "k-1", "k-2", "k-2"], ["3 of 5", "positions 0 and 2"]),
        (["q", "Zo\u00eb", "Zoe\u0308"], ["1 of 3", "positions 1 and 2"]),
    ],
)
def test_ids_are_refused_by_position_and_never_by_value(bad: Any, words: list[str]) -> None:
    for call in (check_ids, lambda value: hash_ids(SESSION, value)):
        with pytest.raises(InvalidInput) as caught:
            call(bad)
        assert all(word in str(caught.value) for word in words)
        assert not any(isinstance(i, str) and len(i) > 2 and i in str(caught.value) for i in bad)


def test_the_longest_id_is_accepted() -> None:
    check_ids(["x" * 1024, "\u00e9" * 512])


def test_too_many_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "MAX_IDS", 3)
    with pytest.raises(InvalidInput, match="limit is 3"):
        check_ids(["a", "b", "c", "d"])


@pytest.mark.parametrize("wrong", [bytes(31), "x" * 32])
def test_ids_of_pairs(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="the id of a pair has 32 bytes"):
        hash_ids(wrong, ["a", "b"])
    for at in range(3):
        parts = [wrong if at == each else bytes(32) for each in range(3)]
        with pytest.raises(InvalidInput, match="have 32 bytes"):
            pair_id(*parts)


def test_a_pair_is_its_session_and_both_certificates() -> None:
    session, host, collaborator, other = (bytes([value]) * 32 for value in range(4))
    pairs = [
        (session, host, collaborator),
        (session, collaborator, host),
        (session, host, other),
        (session, other, collaborator),
        (other, host, collaborator),
    ]
    assert len({pair_id(*pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("chunk", [0, (1 << 15) + 1])
@pytest.mark.parametrize("role", [PsiReceiver, PsiSender])
def test_chunk_sizes(role: type[PsiReceiver | PsiSender], chunk: int) -> None:
    with pytest.raises(InvalidInput, match="a chunk has 1 to 32768 points"):
        role(hash_ids(SESSION, ["a", "b"]), SeededRandomness(1, "x"), chunk=chunk)


def test_hashed_ids_show_no_id_when_printed() -> None:
    assert repr(hash_ids(SESSION, ["ann", "bob"])) == "HashedIds(2 ids)"


@pytest.mark.parametrize("dst", [b"", bytes(256)])
def test_domain_separation_tags(dst: bytes) -> None:
    with pytest.raises(InvalidInput):
        hash_to_field(dst, [b""])


def test_the_tag_separates_pairs() -> None:
    assert hash_ids(SESSION, ["a"]).points != hash_ids(bytes(32), ["a"]).points
    with pytest.raises(InvalidInput):
        domain(bytes(16))


# --- messages that cannot exist


@pytest.mark.parametrize(
    "make",
    [
        lambda: PsiOpen(0, 1, SESSION),
        lambda: PsiOpen((1 << 27) + 1, 1, SESSION),
        lambda: PsiOpen(True, 1, SESSION),
        lambda: PsiOpen(1.0, 1, SESSION),  # type: ignore[arg-type]
        lambda: PsiOpen(1, 0, SESSION),
        lambda: PsiOpen(1, (1 << 15) + 1, SESSION),
        lambda: PsiOpen(1, 1, bytes(31)),
        lambda: PsiOpen(1, 1, "x" * 32),  # type: ignore[arg-type]
        lambda: PsiOpen(1, 1, SESSION, ""),
        lambda: PsiOpen(1, 1, SESSION, "x" * 65),
        lambda: PsiPoints(-1, bytes(32)),
        lambda: PsiPoints(1 << 27, bytes(32)),
        lambda: PsiPoints("0", bytes(32)),  # type: ignore[arg-type]
        lambda: PsiPoints(0, b""),
        lambda: PsiPoints(0, bytes(33)),
        lambda: PsiPoints(0, bytes(32 * ((1 << 15) + 1))),
        lambda: PsiPoints(0, bytearray(32)),  # type: ignore[arg-type]
        lambda: PsiDigests(-1, bytes(16)),
        lambda: PsiDigests(0, b""),
        lambda: PsiDigests(0, bytes(17)),
        lambda: PsiDigests(0, bytes(16 * ((1 << 15) + 1))),
        lambda: PsiDigests(0, "x" * 16),  # type: ignore[arg-type]
        lambda: PsiResult(b"", 0),
        lambda: PsiResult(b"\1", 0),
        lambda: PsiResult(b"\1", 2),
        lambda: PsiResult(b"\0", -1),
        lambda: PsiResult("x", 0),  # type: ignore[arg-type]
        lambda: PsiResult(bytes((1 << 24) + 1), 0),
    ],
)
def test_messages_check_themselves(make: Callable[[], Message]) -> None:
    with pytest.raises(InvalidInput):
        make()
