"""Alignment: the same rows in the same order at both sides, or an error that says which side has what."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.pump import pump, replay
from protocols.core.errors import InvalidInput, RoleAlreadyUsed
from protocols.core.steps import Receive, Send, Steps
from protocols.task.abort import Abort
from protocols.task.alignment import (
    BatchOpen,
    CollaboratorAlignment,
    EpochEnd,
    HostAlignment,
    Misaligned,
    OrderedIds,
    SplitDigest,
    check_ids,
    compare_batches,
    ids_digest,
)
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished

SESSION = bytes(range(32))
IDS = st.one_of(st.integers(), st.text(max_size=8))


def digest(train: Any, test: Any = (), session: bytes = SESSION) -> SplitDigest:
    return SplitDigest.of(session, train, test)


def compare(host: SplitDigest, other: SplitDigest) -> None:
    pump(CollaboratorAlignment(other).run(), HostAlignment(host, "bank").run())


@pytest.mark.parametrize(
    ("host", "other"),
    [
        (OrderedIds({1, 2, 30}), OrderedIds({"30", "2", "1"})),
        ([3, 1, 2], ["3", "1", "2"]),
        (OrderedIds({2, 10, 1}), [1, 2, 10]),
        ([], []),
    ],
)
def test_alike(host: Any, other: Any) -> None:
    compare(digest(host, host), digest(other, other))


@pytest.mark.parametrize(
    ("host", "other", "problem"),
    [
        (digest([1, 2, 3]), digest([1, 2]), "host has 3 training ids, .* has 2"),
        (digest([1, 2]), digest([1, 3]), "host has 2 training ids, .* has 2, and they are not the same ones"),
        (digest([1, 2]), digest([2, 1]), "the same ids in another order"),
        (digest([1], [2, 3]), digest([1], [2]), "host has 2 test ids, .* has 1"),
        (digest([1], [2, 3]), digest([1], [3, 2]), "test ids, .* the same ids in another order"),
        (digest([1]), digest([1], session=bytes(32)), "training ids"),
        (digest([12, 3]), digest([1, 23]), "not the same ones"),
    ],
)
def test_different(host: SplitDigest, other: SplitDigest, problem: str) -> None:
    with pytest.raises(Misaligned, match=problem):
        compare(host, other)
    # A collaborator does not rely on the host to look.
    with pytest.raises(Misaligned, match=problem):
        pump(CollaboratorAlignment(other).run(), shows(host))


def shows(own: SplitDigest) -> Steps[None]:
    """A host that shows its digests without comparing."""
    yield Receive(SplitDigest)
    yield Send(own)


def test_train_and_test_do_not_pass_for_each_other() -> None:
    both = digest([1, 2], [1, 2])
    assert len({both.train_set, both.train_order, both.test_set, both.test_order}) == 4


@given(st.lists(IDS, max_size=20), st.lists(IDS, max_size=20))
def test_digest_tells_lists_apart(one: list[Any], other: list[Any]) -> None:
    same = [str(item) for item in one] == [str(item) for item in other]
    assert (ids_digest(SESSION, "x", one) == ids_digest(SESSION, "x", other)) == same


@given(st.sets(IDS, max_size=30), st.randoms(use_true_random=False))
def test_ordered_ids_are_a_set_in_one_order(ids: set[Any], shuffler: Any) -> None:
    shuffled = list(ids)
    shuffler.shuffle(shuffled)
    one, other = OrderedIds(ids), OrderedIds(shuffled)
    assert one == other == frozenset(ids)
    texts = [str(item) for item in one]
    assert texts == [str(item) for item in other]
    assert sorted(texts, key=lambda text: (len(text), text)) == texts
    assert all(item in one for item in ids)


def test_numbers_come_in_numerical_order() -> None:
    assert list(OrderedIds({100, 9, 10, 1})) == [1, 9, 10, 100]


def test_repr_shows_no_id() -> None:
    assert repr(OrderedIds({"patient-17"})) == "OrderedIds(<1 ids>)"


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_order_is_the_same_in_every_process(seed: str) -> None:
    code = (
        "from protocols.task.alignment import OrderedIds\n"
        "ids = OrderedIds({f'id-{i * 7919 % 1000}' for i in range(200)} | set(range(50)))\n"
        "import hashlib; print(hashlib.sha256(repr(list(ids)).encode()).hexdigest())"
    )
    root = Path(__file__).parent.parent.parent
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
    ).stdout
    # By length, then by text: written down, because a fixed value is what "the same everywhere" means.
    ids = [*map(str, range(50)), *(f"id-{i * 7919 % 1000}" for i in range(200))]
    expected = [int(i) if i.isdigit() else i for i in sorted(ids, key=lambda text: (len(text), text))]
    assert printed.strip() == hashlib.sha256(repr(expected).encode()).hexdigest()


@pytest.mark.parametrize("ids", [{1, 2}, frozenset({"a"}), [1, "2"], ("a",), set(), []])
def test_check_ids_takes(ids: Any) -> None:
    assert list(map(str, check_ids("ids", ids))) == list(map(str, OrderedIds(ids)))


def test_check_ids_keeps_a_lists_order() -> None:
    assert list(check_ids("ids", [3, 1, 2])) == [3, 1, 2]


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ("123", "must be a set or a list of ids, not str"),
        (None, "not NoneType"),
        (iter([1]), "not list_iterator"),
        ({1: 2}, "not dict"),
        ([1, 2.0], "number 1 is float"),
        ([True], "number 0 is bool"),
        ([None], "number 0 is NoneType"),
        ([1, 2, 1], "some ids appear twice in 3 ids"),
        ([1, "1"], "some ids appear twice"),
        ({1, "1"}, "the same id appears as text and as a number"),
    ],
)
def test_check_ids_refuses(ids: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        check_ids("ids", ids)


def test_batches() -> None:
    one, two = ids_digest(SESSION, "batch", [1, 2]), ids_digest(SESSION, "batch", [2, 1])
    compare_batches(2, one, BatchOpen(2, one), "bank", "here")
    compare_batches(2, b"", BatchOpen(2, two), "bank", "here")
    compare_batches(2, one, BatchOpen(2, b""), "bank", "here")
    with pytest.raises(Misaligned, match="here: the host's and bank's 2 samples are not the same"):
        compare_batches(2, one, BatchOpen(2, two), "bank", "here")
    with pytest.raises(Misaligned, match="here: the host's batch has 3 samples, bank's has 2"):
        compare_batches(3, one, BatchOpen(2, one), "bank", "here")


GOOD = SplitDigest(1, bytes(32), bytes(32), 1, bytes(32), bytes(32))


@pytest.mark.parametrize(
    "change",
    [
        *({f"{part}_count": value} for part in ("train", "test") for value in (-1, 1 << 32, True, "1")),
        *(
            {f"{part}_{kind}": value}
            for part in ("train", "test")
            for kind in ("set", "order")
            for value in (b"", bytes(31), bytes(33), "x" * 32)
        ),
    ],
    ids=str,
)
def test_malformed_split(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"SplitDigest: {next(iter(change))}"):
        replace(GOOD, **change)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (BatchOpen, (0, b"")),
        (BatchOpen, (-1, b"")),
        (BatchOpen, ((1 << 20) + 1, b"")),
        (BatchOpen, (True, b"")),
        (BatchOpen, (1, bytes(31))),
        (BatchOpen, (1, "")),
        (EpochEnd, (-1,)),
        (EpochEnd, (1.0,)),
        (RoundStart, (-1,)),
        (RoundStart, ((1 << 31) + 1,)),
        (RoundStart, (False,)),
        (TaskFinished, (-1,)),
        (TaskFinished, (None,)),
        (FinishAcknowledged, (-1,)),
        (FinishAcknowledged, ("1",)),
        (Abort, ("", "party", "Code")),
        (Abort, ("x" * 501, "party", "Code")),
        (Abort, ("two\nlines", "party", "Code")),
        (Abort, ("\x1b[2J", "party", "Code")),
        (Abort, ("reason", "", "Code")),
        (Abort, ("reason", "party", "")),
        (Abort, ("reason", "p" * 101, "Code")),
    ],
    ids=str,
)
def test_malformed_messages(kind: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match=kind.__name__):
        kind(*arguments)


def test_splits_are_compared_once() -> None:
    own = digest(["a", "b"])
    host, collaborator = HostAlignment(own, "bank"), CollaboratorAlignment(own)
    pump(collaborator.run(), host.run())
    for role in (host, collaborator):
        with pytest.raises(RoleAlreadyUsed):
            replay(role.run(), own)
