"""Packed ids behave as the set of the same ids in the order of alignment, and take a fraction of the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.errors import InvalidInput
from protocols.psi.packed import PackedIds, Texts, chunks_of, packed
from protocols.task.alignment import OrderedIds, SplitDigest, check_ids, ids_digest

texts = st.sets(st.text(st.sampled_from("ab\0é漢z0"), min_size=1, max_size=5), max_size=30)


def of(ids: Any, size: int = 7) -> PackedIds:
    return packed(Texts.of(chunk) for chunk in chunks_of(ids, size))


@settings(max_examples=60, deadline=None)
@given(ids=texts, other=texts)
def test_equals_the_ordered_set(ids: set[str], other: set[str]) -> None:
    own, expected = of(ids), list(OrderedIds(ids))
    assert list(own) == expected
    assert list(reversed(own)) == expected[::-1]
    assert [own[at] for at in range(-len(own), len(own))] == expected * 2
    assert own == ids
    assert {each for each in ids | other if each in own} == ids
    assert list(own - other) == list(OrderedIds(ids - other))
    assert list(own & of(other)) == list(OrderedIds(ids & other))
    assert own.isdisjoint(other) == ids.isdisjoint(other)
    assert list(PackedIds.from_bytes(own.to_bytes())) == expected


@settings(max_examples=40, deadline=None)
@given(ids=texts, data=st.data())
def test_parts(ids: set[str], data: st.DataObject) -> None:
    own, expected = of(ids), list(OrderedIds(ids))
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(ids))] * 2)))
    for part, chosen in (
        (own[low:high], expected[low:high]),
        (own[::2], expected[::2]),
        (own[np.arange(len(ids)) % 3 == 0], expected[::3]),
        (own[low:high][1:], expected[low:high][1:]),
        (own[::-1][: high - low], expected[::-1][: high - low]),
    ):
        assert list(part) == chosen
        assert part.is_part_of(own)
        assert list(part.ordered()) == list(OrderedIds(chosen))
        assert all(each in part for each in chosen)
        assert sum(each in part for each in expected) == len(chosen)
        assert list(PackedIds.from_bytes(part.to_bytes(), own)) == chosen
    assert not own[low:high].is_part_of(own[high:]) or low == high


def test_digests_are_those_of_any_other_collection() -> None:
    ids = [f"id{i}" for i in range(40)]
    own, session = of(ids), bytes(32)
    one = SplitDigest.of(session, own[:30], own[30:])
    other = SplitDigest.of(session, OrderedIds(list(own)[:30]), OrderedIds(list(own)[30:]))
    assert one == other
    assert check_ids("split", own[:3]) is not None
    assert ids_digest(session, "x", own[::-1]) != ids_digest(session, "x", own)


def test_what_is_refused() -> None:
    own = of(["a", "b", "c"])
    with pytest.raises(InvalidInput, match="same position twice"):
        own[np.array([1, 1])]
    with pytest.raises(IndexError):
        own[3]
    for data in (b"", b"ids ", b"part\0\0\0\0", b"ids \1\0\0\0\0\0\0\0\2\0a", b"nope"):
        with pytest.raises(InvalidInput):
            PackedIds.from_bytes(np.frombuffer(data, np.uint8))
    assert 7 not in own
    assert "<3 ids>" in repr(own)


def test_many_ids_take_their_text_and_four_bytes_each() -> None:
    count = 100_000
    raw = np.char.mod("%08d", np.arange(count)).astype("S8")
    own = packed([Texts(raw.view(np.uint8), np.arange(0, 8 * count + 1, 8))])
    assert own.nbytes == count * 12 + 4
    assert own[: count // 2].nbytes == own.nbytes
    assert "00077777" in own
