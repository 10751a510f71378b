"""Features of given ids through the iterators that users write for training: in whatever order they yield."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from secure_hfl.engine.user_code import UserCode
from secure_hfl.errors import UserCodeError
from secure_hfl.prediction.features import PredictionFeatures, Rows

TRAINED, OTHERS = list(range(20)), list(range(100, 110))


def row(sample: int) -> list[float]:
    return [float(sample), sample % 7 - 3.0]


class Scheduler:
    """Iterators that keep the order of the ids, in batches of 4; labels beside them."""

    is_feature_trainable = True
    schedule_timeout = 1.0
    has_prediction_features = False

    def __init__(
        self, order: Callable[[list[int]], list[int]] = list, change: Callable[[Any], Any] = lambda x: x
    ) -> None:
        self.order, self.change, self.calls = order, change, 0
        self.user = UserCode(self)  # type: ignore[arg-type]
        self.confirms = False

    def iterate_test_feature(self, feature_model: nn.Module, ids: Any) -> Iterator[Any]:
        self.calls += 1
        ordered = self.order([int(each) for each in ids])
        for start in range(0, len(ordered), 4):
            part = ordered[start : start + 4]
            if self.confirms:
                self.user.confirm_batch_ids(bytes(32), part)
            yield feature_model(self.change(torch.tensor([row(each) for each in part]))), torch.tensor(part)

    iterate_train_feature = iterate_test_feature


def features_of(scheduler: Any, train: Any = (), other: Any = ()) -> PredictionFeatures:
    return PredictionFeatures(scheduler.user, scheduler, nn.Identity(), train, other)


def shuffled(ids: list[int]) -> list[int]:
    return sorted(ids, key=lambda each: random.Random(each).random())


@pytest.mark.parametrize("order", [list, shuffled, lambda ids: ids[::-1]], ids=["kept", "shuffled", "reversed"])
@pytest.mark.parametrize("confirms", [False, True], ids=["silent", "confirms"])
def test_rows_are_of_their_ids_whatever_the_order(order: Any, confirms: bool) -> None:
    scheduler = Scheduler(order)
    scheduler.confirms = confirms
    wanted = ["107", "3", "12", "100", "19", "0", "7", "11", "108"]
    rows = features_of(scheduler, TRAINED, OTHERS).of(wanted)
    assert rows.ids == tuple(wanted)
    assert rows.features.tolist() == [row(int(each)) for each in wanted]
    assert [int(each) for each in rows.labels] == [int(each) for each in wanted]
    if confirms:
        assert scheduler.calls == 2  # one for ids that were trained on, one for others


def test_ids_have_the_type_that_the_split_gave_them() -> None:
    seen: list[Any] = []

    class Typed(Scheduler):
        def iterate_test_feature(self, feature_model: nn.Module, ids: Any) -> Iterator[Any]:
            seen.extend(ids)
            return super().iterate_test_feature(feature_model, ids)

        iterate_train_feature = Scheduler.iterate_test_feature

    features_of(Typed(), TRAINED, OTHERS).of(["101", "200", "00201"])
    assert {101, 200, "00201"} == set(seen)
    seen.clear()
    features_of(Typed(), ["1"], ["101"]).of(["101", "200"])
    assert set(seen) == {"101", "200"}


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16], ids=str)
def test_features_stay_as_the_bottom_model_gives_them(kind: torch.dtype) -> None:
    """What fuses them and the top model have been trained with that."""
    rows = features_of(Scheduler(change=lambda x: x.to(kind)), TRAINED, OTHERS).of(["3", "107", "100"])
    assert (rows.features.dtype, rows.plain.dtype) == (kind, torch.float32)
    assert rows.plain.tolist() == [row(3), row(107), row(100)]


def test_an_iterator_of_the_users_own_is_taken_at_its_word() -> None:
    class Own(Scheduler):
        has_prediction_features = True

        def iterate_prediction_feature(self, feature_model: nn.Module, ids: list[Any]) -> Iterator[Any]:
            yield feature_model(torch.tensor([row(int(each)) for each in ids]))

    scheduler = Own()
    assert features_of(scheduler).of(["9", "4"]).features.tolist() == [row(9), row(4)]
    assert scheduler.calls == 0


@pytest.mark.parametrize(
    ("scheduler", "ids", "said"),
    [
        (Scheduler(lambda ids: ids[: len(ids) // 4 * 4]), ["1"], "yields 0 rows for 1 id.*drop_last"),
        (
            Scheduler(change=lambda x: x + torch.rand(x.shape)),
            ["1", "2"],
            "not yield one and the same row for one",
        ),
        (Scheduler(change=lambda x: x[:, : len(x) % 2 + 1]), list("12345"), "are 1 and 2 wide"),
    ],
    ids=["drops the last batch", "augments at random", "yields other widths"],
)
def test_iterators_that_cannot_be_used_are_told_so(scheduler: Scheduler, ids: list[str], said: str) -> None:
    with pytest.raises(UserCodeError, match=said):
        features_of(scheduler).of(ids)


@pytest.mark.parametrize("labels", [None, 7, torch.tensor(7), [1, 2, 3, 4, 5, 6]], ids=["none", "one", "0-d", "six"])
def test_what_is_no_label_for_each_row_is_none(labels: Any) -> None:
    class Other(Scheduler):
        has_prediction_features = True

        def iterate_prediction_feature(self, feature_model: nn.Module, ids: list[Any]) -> Iterator[Any]:
            yield torch.tensor([row(int(each)) for each in ids]), labels

    assert features_of(Other()).of(["9", "4"]).labels == (None, None)


def test_rows_show_no_value() -> None:
    assert repr(Rows(("ann",), torch.tensor([[0.5]]), (1,))) == "<Rows of 1 ids>"
