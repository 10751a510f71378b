"""The layer of a frozen bottom model: each row crosses once, W stays, and what a peer says of its rows is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.harness.pump import pump, replay
from protocols.core.errors import CallOutOfOrder, InvalidInput, MalformedMessage, OutOfRange, RoleAlreadyUsed
from protocols.core.message import Message
from protocols.layer import frozen
from protocols.layer.frozen_rows import KEPT_BYTES, MOST_KEPT, SentRows, kept_rows
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import MAX_FROZEN_ROWS, BatchClosed, FrozenRows
from protocols.schemes.encrypted.messages import Projection
from protocols.schemes.masked.messages import MaskedFeatures
from protocols.schemes.plain.messages import PlainFeatures
from tests.protocols.kept_layers import layer_ends
from tests.protocols.layer.helpers import normal

D, O, ROWS = 5, 3, 4  # noqa: E741
SCHEMES = ["plain", "bfv", "masked"]
Z_ERROR = {"plain": 1e-5, "bfv": 0.005, "masked": 0.005}
SHOWING = (PlainFeatures, Projection, MaskedFeatures)
Floats = NDArray[np.float32]


class Ends:
    """Both ends of a frozen layer, set up or resumed; `sent`: what each batch's forward pass sent from either side."""

    def __init__(self, scheme: str = "plain", width_out: int | None = O, states: Any = None) -> None:
        self.scheme, self.width_out = scheme, width_out
        spec = LayerSpec("side", D, width_out, ROWS, False, bytes(32))
        self.host, self.collaborator = layer_ends(scheme, spec, 0 if states is None else 1)
        if states is None:
            pump(self.host.setup(), self.collaborator.setup())
        else:
            pump(self.host.resume(states[0]), self.collaborator.resume(states[1]))
        self.sent: list[list[Message]] = []

    def stock_up(self) -> None:
        """Masks, if the scheme needs any."""
        phase = self.host.offline
        if phase is not None:

            def serve() -> Any:
                request = yield frozen.Receive(self.collaborator.offline.request_type)
                yield from self.collaborator.offline.serve(request)

            pump(phase.generate(phase.kind(True), 2), serve())

    def forward(self, features: Floats, training: bool = True) -> Floats:
        """z."""
        self.stock_up()
        talk = pump(self.host.forward(len(features), training), self.collaborator.forward(features, training))
        self.sent.append([*talk.from_right, *talk.from_left])
        return talk.left

    def backward(self, dz: Floats) -> list[Message]:
        """What crossed."""
        talk = pump(self.host.backward(dz, 0.5), self.collaborator.backward())
        assert talk.right is None
        return [*talk.from_left, *talk.from_right]

    def states(self) -> Any:
        """What both would keep."""
        return self.host.state(), self.collaborator.state()

    def resumed(self) -> Ends:
        """Two new ends."""
        return Ends(self.scheme, self.width_out, self.states())


def shuffled(features: Floats, seed: int) -> Any:
    """A round's batches: the places of their rows."""
    order = np.random.default_rng(seed).permutation(len(features))
    return [order[start : start + ROWS] for start in range(0, len(order), ROWS)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_row_crosses_once_and_the_weights_stay(scheme: str) -> None:
    ends, a = Ends(scheme), normal(1, 10, D)
    first: dict[int, Floats] = {}
    for number in range(4):
        for places in shuffled(a, number):
            z = ends.forward(a[places])
            for place, row in zip(places, z):
                assert (first.setdefault(int(place), row) == row).all(), "the same z for the same row, to the last bit"
            assert ends.backward(normal(number, *z.shape)) == [BatchClosed()]
    assert ends.host.rows_shown == ends.collaborator.rows_shown == len(a)
    whole = np.stack([first[place] for place in range(len(a))])
    weights = np.linalg.lstsq(a.astype(np.float64), whole, rcond=None)[0]
    np.testing.assert_allclose(a @ weights, whole, atol=Z_ERROR[scheme])  # one W for all rows of all rounds
    assert np.linalg.svd(weights, compute_uv=False) == pytest.approx(np.ones(O), abs=0.05)  # and it is the first one
    later = [message for batch in ends.sent[3:] for message in batch]
    assert [type(message) for message in later] == [FrozenRows] * 9
    assert sum(isinstance(message, SHOWING) for batch in ends.sent[:3] for message in batch) >= 3


def test_equal_rows_cross_once_also_within_a_batch() -> None:
    ends, a = Ends(), normal(2, 2, D)
    z = ends.forward(a[[0, 1, 0, 0]])
    message, shown = ends.sent[0]
    assert isinstance(message, FrozenRows)
    assert isinstance(shown, PlainFeatures)
    assert (message.new, message.references.tolist()) == (2, [0, 1, 0, 0])
    assert (shown.features == a).all()
    assert (z[[2, 3]] == z[0]).all()
    assert (z[0] != z[1]).any()


@pytest.mark.parametrize("width_out", [None, O])
def test_a_test_batch_is_as_a_training_batch_and_waits_for_nothing(width_out: int | None) -> None:
    ends, a = Ends(width_out=width_out), normal(3, ROWS, D)
    z = ends.forward(a, training=False)
    assert (ends.forward(a) == z).all()
    assert ends.sent[1] == ends.sent[1][:1]
    ends.backward(z)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_goes_on_from_a_checkpoint_without_sending_anything_again(scheme: str) -> None:
    ends, a = Ends(scheme), normal(4, 6, D)
    last, first = ends.forward(a[4:], training=False), ends.forward(a[:4])
    with pytest.raises(CallOutOfOrder):
        ends.states()  # the batch is not closed
    ends.backward(first)
    again = ends.resumed()
    for rows, z in ((a[:4], first), (a[4:], last)):
        assert (again.forward(rows) == z).all()
        again.backward(z)
    assert [type(message) for batch in again.sent for message in batch] == [FrozenRows] * 2
    z = again.forward(np.concatenate([a[3:5], normal(5, 2, D)]))
    assert (z[:2] == [first[3], last[0]]).all()
    assert again.sent[-1][0].new == 2  # type: ignore[attr-defined]
    assert again.host.rows_shown == 8


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_row_that_crosses_again_shows_nothing_more(scheme: str) -> None:
    """After going back to before it crossed: the weights and the noise are those of the first time, to the last bit."""
    ends, a = Ends(scheme), normal(14, ROWS, D)
    states = ends.states()
    first = ends.forward(a)
    again = Ends(scheme, O, states)
    assert (again.forward(a[::-1]) == first[::-1]).all()
    assert any(isinstance(message, SHOWING) for message in again.sent[0])


def test_a_checkpoint_of_before_the_first_batch() -> None:
    again = Ends().resumed()
    assert again.host.rows_shown == again.collaborator.rows_shown == 0
    again.forward(normal(6, ROWS, D))
    assert again.host.rows_shown == ROWS


# Memory ---------------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_bounded() -> None:
    for width in (1, 20, 64, 1 << 16):
        assert 1 <= kept_rows(width) <= MOST_KEPT
        assert kept_rows(width) * width * 4 <= KEPT_BYTES


@pytest.mark.parametrize("capacity", [1, 3, 4, 7, 100])
def test_both_forget_the_same_rows_and_a_forgotten_row_crosses_again(
    capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "kept_rows", lambda width: capacity)
    ends, a = Ends(), normal(7, 30, D)
    rng, crossed = np.random.default_rng(8), 0
    expected = {}
    for number in range(60):
        places = rng.integers(0, 8 if number % 3 else 30, ROWS)
        z = ends.forward(a[places])
        crossed += ends.sent[-1][0].new  # type: ignore[attr-defined]
        for place, row in zip(places, z):
            np.testing.assert_allclose(expected.setdefault(place, row), row, rtol=1e-6)
        ends.backward(z)
        assert len(ends.host._rows._values) <= max(capacity, 1)
        assert len(ends.collaborator._rows._numbers) <= capacity
        if number % 7 == 0:
            ends = ends.resumed()
    assert ends.host.rows_shown == ends.collaborator.rows_shown == crossed
    assert (crossed == len(expected)) == (capacity == 100)


def test_there_are_no_more_numbers_than_a_message_can_hold() -> None:
    rows = SentRows(10)
    rows.count = MAX_FROZEN_ROWS - 1
    references, _ = rows.refer(normal(9, 1, D))
    assert references.tolist() == [MAX_FROZEN_ROWS - 1]
    with pytest.raises(OutOfRange, match=f"more than {MAX_FROZEN_ROWS}"):
        rows.refer(normal(10, 1, D))


def test_a_row_is_known_by_its_bits_under_a_key_that_nobody_else_has() -> None:
    one, other = SentRows(10), SentRows(10)
    row = normal(11, 1, D)
    for rows in (one, other):
        assert rows.refer(row)[1].tolist() == [0]
        assert rows.refer(row)[1].tolist() == []
        assert rows.refer(np.nextafter(row, np.float32(9)))[1].tolist() == [0]
    assert list(one._numbers) != list(other._numbers)
    assert repr(one) == "<SentRows: 2>"


# A host is told what cannot be ----------------------------------------------------------------------------------------

HOSTILE: dict[str, tuple[int, list[int], str]] = {
    "beyond what was sent": (0, [0, 1, 6, 2], "0 new rows .* numbered from 6"),
    "a new row that is not counted": (1, [6, 7, 0, 0], "1 new rows .* numbered from 6"),
    "a count without rows": (2, [6, 0, 0, 0], "2 new rows .* numbered from 6"),
    "a gap": (2, [6, 8, 0, 0], "2 new rows .* numbered from 6"),
    "new rows out of order": (2, [7, 6, 0, 0], "in order"),
    "new rows out of order, one twice": (3, [6, 8, 7, 6], "in order"),
    "too few rows": (0, [0, 1, 2], "has 3 rows, and the batch 4"),
    "too many rows": (1, [0, 1, 2, 3, 6], "has 5 rows, and the batch 4"),
    "a row that is forgotten": (0, [0, 1, 2, 3], "before number 2, the oldest"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_message_is_refused(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "forgotten" in case:
        monkeypatch.setattr(frozen, "kept_rows", lambda width: 4)
    ends = Ends()
    for rows in (4, 2):
        ends.forward(normal(rows, rows, D), training=False)
    new, references, why = HOSTILE[case]
    message = FrozenRows(new, np.array(references, np.int32))
    with pytest.raises(MalformedMessage, match=why):
        replay(ends.host.new_rows(ROWS), message)


@pytest.mark.parametrize(
    ("new", "references"),
    [
        (0, np.array([], np.int32)),
        (3, np.array([0, 1], np.int32)),
        (-1, np.array([0], np.int32)),
        (0, np.array([-1], np.int32)),
        (0, np.array([0], np.int64)),
        (0, np.array([[0]], np.int32)),
        (0, np.zeros((1 << 20) + 1, np.int32)),
        (True, np.array([0], np.int32)),
    ],
)
def test_a_message_checks_itself(new: int, references: Any) -> None:
    with pytest.raises(InvalidInput):
        FrozenRows(new, references)


# Misuse, and checkpoints that do not fit ------------------------------------------------------------------------------


def test_the_order_of_calls() -> None:
    ends, z = Ends(), np.zeros((ROWS, O), np.float32)
    for steps in (ends.host.setup(), ends.collaborator.setup()):
        with pytest.raises(RoleAlreadyUsed):
            next(steps)
    for steps in (ends.host.backward(z, 0.1), ends.host.skip(), ends.collaborator.backward()):
        with pytest.raises(CallOutOfOrder):
            next(steps)
    ends.forward(normal(12, ROWS, D))
    with pytest.raises(CallOutOfOrder, match="no batch of 3 rows"):
        next(ends.host.backward(z[:3], 0.1))
    ends.backward(z)
    with pytest.raises(InvalidInput, match=r"expected \[4, 5\] float32"):
        next(ends.collaborator.forward(np.zeros((ROWS, D + 1), np.float32), True))


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.pop(name)


def with_(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.update({name: change(state[name])})


HOST_STATES = [
    (without("frozen_rows"), "lacks rows"),
    (without("weight"), "it must hold weight"),
    (with_("frozen_rows", lambda rows: rows[:3]), "of 4 rows, 4 must be there, not 3"),
    (with_("frozen_rows", lambda rows: rows[:, :2]), r"rows must be \[4, 3\] float32"),
    (with_("frozen_rows", lambda rows: rows.astype(np.float64)), "float32"),
    (with_("frozen_rows", lambda rows: rows * np.float32(np.nan)), "must be finite"),
    (with_("frozen_count", lambda count: -count), "of -4 rows"),
    (with_("frozen_count", lambda count: np.array([4, 4])), r"count must be \[1\]"),
    (with_("frozen_count", lambda count: np.array([1 << 40])), "must be there, not 4"),
]
COLLABORATOR_STATES = [
    (without("frozen_key"), "lacks key"),
    (with_("frozen_key", lambda key: key[:8]), r"key must be \[32\] uint8"),
    (with_("frozen_digests", lambda digests: digests[:, :8]), r"digests must be \[4, 16\] uint8"),
    (with_("frozen_digests", lambda digests: digests[[0, 1, 2, 2]]), "digests must differ"),
    (with_("frozen_count", lambda count: count + 1), "of 5 rows, 5 must be there, not 4"),
    (lambda state: state.update(stranger=np.zeros(1)), "holds stranger"),
]


@pytest.mark.parametrize("at", range(len(HOST_STATES)))
def test_a_hosts_state_that_does_not_fit_is_refused(at: int) -> None:
    refuse(0, *HOST_STATES[at])


@pytest.mark.parametrize("at", range(len(COLLABORATOR_STATES)))
def test_a_collaborators_state_that_does_not_fit_is_refused(at: int) -> None:
    refuse(1, *COLLABORATOR_STATES[at])


def refuse(side: int, change: Callable[[dict[str, Any]], object], why: str) -> None:
    ends = Ends()
    ends.forward(normal(13, ROWS, D), training=False)
    states = ends.states()
    change(states[side])
    fresh = layer_ends("plain", LayerSpec("side", D, O, ROWS, False, bytes(32)), 1)[side]
    with pytest.raises(InvalidInput, match=f"^the checkpoint of side's layer.*{why}"):
        list(fresh.resume(states[side]))
