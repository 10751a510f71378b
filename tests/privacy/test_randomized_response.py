"""Labels that are drawn: with which probability exactly, once for each sample, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flint import arb, ctx, fmpq
from hypothesis import given
from hypothesis import strategies as st

from secure_hfl import RandomizedResponse
from secure_hfl.errors import ConfigurationError, UserCodeError
from secure_hfl.privacy.randomized_response import MAX_CLASSES, MAX_EPSILON, MIN_EPSILON, WORDS, LabelDraws
from secure_hfl.schedulers.host import HeteroNNHostScheduler

KEY = bytes(range(32))
IDS = [f"sample {number}" for number in range(20_000)]
EPSILONS = st.floats(MIN_EPSILON, MAX_EPSILON)
CLASSES = st.integers(2, 50) | st.integers(2, MAX_CLASSES)


def draws(epsilon: float = 1.0, classes: int = 3, key: bytes = KEY) -> LabelDraws:
    return LabelDraws(RandomizedResponse(epsilon, classes), key, IDS)


def ratio(response: RandomizedResponse, flips: int) -> fmpq:
    """Of the probability of keeping a label and of one given other class, if that had so many words."""
    return fmpq(WORDS - (response.classes - 1) * flips, flips)


# Probabilities -------------------------------------------------------------------------------------------------------


@given(EPSILONS, CLASSES)
def test_no_two_probabilities_are_further_apart_than_e_to_the_epsilon(epsilon: float, classes: int) -> None:
    """By another library's interval arithmetic, which is certain about every comparison."""
    response = RandomizedResponse(epsilon, classes)
    ctx.prec = 400
    bound = arb(epsilon).exp()
    assert bound.rad() < arb(10) ** -80
    assert arb(ratio(response, response.flips)) < bound
    assert arb(ratio(response, response.flips - 1)) > bound, "and no more is given away than must be"
    assert ratio(response, response.flips) > 1, "the true class is the likeliest"


@given(EPSILONS, st.integers(2, 40), st.data())
def test_every_other_class_has_as_many_words_as_it_should(epsilon: float, classes: int, data: st.DataObject) -> None:
    """`answer` is constant between these borders, so they tell all probabilities exactly."""
    response = RandomizedResponse(epsilon, classes)
    label = data.draw(st.integers(0, classes - 1))
    borders = [step * response.flips for step in range(classes)]
    first = [response.answer(label, border) for border in borders]
    last = [response.answer(label, border - 1) for border in [*borders[1:], WORDS]]
    assert first == last
    assert sorted(first) == list(range(classes)), "each class once"
    assert first[-1] == label, "the last and longest stretch keeps the label"
    assert response.keep_probability == (WORDS - borders[-1]) / WORDS
    assert response.flip_probability == response.flips / WORDS


@pytest.mark.parametrize(("epsilon", "classes"), [(1.0, 2), (3.0, 10), (0.5, 4)])
def test_drawn_labels_are_as_frequent_as_that(epsilon: float, classes: int) -> None:
    response = RandomizedResponse(epsilon, classes)
    for true in range(classes):
        labels = torch.full((len(IDS),), true)
        drawn = draws(epsilon, classes)(labels, IDS, len(IDS))
        counts = np.bincount(drawn.numpy(), minlength=classes)
        for each in range(classes):
            expected = response.keep_probability if each == true else response.flip_probability
            spread = math.sqrt(expected * (1 - expected) * len(IDS))
            assert abs(counts[each] - expected * len(IDS)) < 5 * spread


# Once for each sample ------------------------------------------------------------------------------------------------


def test_a_sample_has_one_label_wherever_it_comes() -> None:
    labels = torch.arange(300) % 3
    one, other = draws(), draws()
    first = one(labels, IDS[:300], 300)
    assert (first != labels).any()
    assert torch.equal(one(labels, IDS[:300], 300), first), "in the next round"
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    again = other(labels[order], [IDS[row] for row in order.tolist()], 300)
    assert torch.equal(again, first[order]), "in another process, other batches, another order"
    assert not torch.equal(draws(key=bytes(32))(labels, IDS[:300], 300), first), "under another key"
    assert not torch.equal(draws(epsilon=1.01)(labels, IDS[:300], 300), first), "two bounds share no draws"


def test_ids_are_the_same_as_numbers_and_as_text() -> None:
    response, labels = RandomizedResponse(0.1, 10), torch.arange(10)
    numbers = LabelDraws(response, KEY, range(10))(labels, list(range(10)), 10)
    texts = LabelDraws(response, KEY, range(10))(labels, [str(number) for number in range(10)], 10)
    assert torch.equal(numbers, texts)


def test_another_label_of_a_sample_is_drawn_on_its_own() -> None:
    """Were both made from one word, the difference of what was drawn would be the difference of the true labels."""
    differences = draws(0.1, 10)(torch.zeros(2000, dtype=torch.long), IDS[:2000], 2000)
    differences = differences - draws(0.1, 10)(torch.ones(2000, dtype=torch.long), IDS[:2000], 2000)
    counts = np.bincount((differences % 10).numpy(), minlength=10)
    assert counts.max() < 2 * 2000 / 10


def test_dtype_and_shape_stay() -> None:
    for dtype in (torch.uint8, torch.int32, torch.int64):
        drawn = draws()(torch.zeros(5, dtype=dtype), IDS[:5], 5)
        assert (drawn.dtype, drawn.shape) == (dtype, (5,))


# Refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "ids", "expected"),
    [
        (torch.zeros(4).long(), None, r"call self\.confirm_batch_ids\(ids\) before each yield"),
        (torch.zeros(4).long(), IDS[:3], "named 3 ids for a batch of 4"),
        (torch.zeros(3).long(), IDS[:4], r"\[4\], and iterate_train_feature yields \[3\]"),
        (torch.zeros(4, 1).long(), IDS[:4], r"\[4\], and iterate_train_feature yields \[4, 1\]"),
        (torch.zeros(4), IDS[:4], r"yields torch\.float32.*\.long\(\)"),
        (torch.zeros(4).bool(), IDS[:4], r"yields torch\.bool"),
        (torch.tensor([0, 1, 2, 3]), IDS[:4], "is classes=3 right"),
        (torch.tensor([0, 1, 2, -1]), IDS[:4], "is classes=3 right"),
        ([0, 1, 2, 0], IDS[:4], "yields a list"),
        (torch.zeros(4).long(), [*IDS[:3], "stranger"], "not among the training ids"),
        (torch.tensor([0, 0, 1, 2]), [IDS[0], IDS[1], IDS[0], IDS[2]], "another label than before"),
    ],
)
def test_batches_that_are_refused(labels: Any, ids: Any, expected: str) -> None:
    with pytest.raises(UserCodeError, match=expected):
        draws()(labels, ids, 4)


def test_a_dtype_that_cannot_hold_every_class_is_refused() -> None:
    """Not only where a class beyond it happens to be drawn."""
    for dtype, classes in ((torch.uint8, 257), (torch.int8, 129)):
        with pytest.raises(UserCodeError, match=f"as an integer tensor .* yields {dtype}, which ends before"):
            draws(20.0, classes)(torch.zeros(4, dtype=dtype), IDS[:4], 4)
        assert draws(20.0, classes - 1)(torch.zeros(4, dtype=dtype), IDS[:4], 4).dtype == dtype


def test_labels_that_change_between_rounds_are_refused() -> None:
    drawn = draws()
    drawn(torch.tensor([0, 1]), IDS[:2], 2)
    with pytest.raises(UserCodeError, match="another label than before"):
        drawn(torch.tensor([0, 1]), IDS[1::-1], 2)


@pytest.mark.parametrize(
    ("epsilon", "classes"),
    [(0, 2), (-1.0, 2), (math.nan, 2), (math.inf, 2), (21, 2), (True, 2), ("1", 2), (1, 1), (1, 2.0), (1, 1 << 17)],
)
def test_arguments_that_are_refused(epsilon: Any, classes: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RandomizedResponse: (epsilon|classes) must be"):
        RandomizedResponse(epsilon, classes)


def test_a_key_is_not_shown() -> None:
    assert repr(draws()) == "LabelDraws(RandomizedResponse(epsilon=1.0, classes=3), <secret>)"


# Loss ----------------------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_the_transition_matrix() -> None:
    response = RandomizedResponse(1.5, 4)
    flip, keep = response.flip_probability, response.keep_probability
    matrix = torch.full((4, 4), flip) + (keep - flip) * torch.eye(4)
    assert torch.allclose(matrix.sum(1), torch.ones(4))
    logits, labels = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), torch.arange(9) % 4
    expected = -(logits.softmax(1) @ matrix)[torch.arange(9), labels].log().mean()
    assert torch.allclose(response.loss(logits, labels), expected)
    assert torch.allclose(response.loss(logits.log_softmax(1), labels), expected)


def test_two_classes_may_have_one_logit() -> None:
    response, logits, labels = RandomizedResponse(1.0, 2), torch.linspace(-3, 3, 7), torch.arange(7) % 2
    both = torch.stack((torch.zeros(7), logits), 1)
    expected = response.loss(both, labels)
    assert torch.equal(response.loss(logits, labels), expected)
    assert torch.equal(response.loss(logits[:, None], labels), expected)
    with pytest.raises(ConfigurationError, match=r"needs logits \[rows, 3\], and got \[7\]"):
        RandomizedResponse(1.0, 3).loss(logits, labels)


def test_the_correction_finds_the_true_probabilities() -> None:
    """With plain cross-entropy the model learns those of the drawn labels instead."""
    response, truth = RandomizedResponse(1.0, 3), torch.tensor([0.7, 0.25, 0.05])
    flip, keep = response.flip_probability, response.keep_probability
    frequencies = flip + (keep - flip) * truth
    logits = truth.log()[None].requires_grad_()
    for loss, is_corrected in ((response.loss, True), (F.cross_entropy, False)):
        each = torch.stack([loss(logits, torch.tensor([label])) for label in range(3)])
        (gradient,) = torch.autograd.grad((frequencies * each).sum(), logits)
        assert (float(gradient.abs().max()) < 1e-6) is is_corrected, "zero where the loss is least"


def test_extreme_logits_have_finite_gradients() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    RandomizedResponse(20.0, 3).loss(logits, torch.tensor([1, 1])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


# The scheduler -------------------------------------------------------------------------------------------------------


def test_the_scheduler_takes_a_randomized_response_only() -> None:
    class Bare(HeteroNNHostScheduler):
        """Nothing of it is called."""

    Bare.__abstractmethods__ = frozenset()
    Bare("host", max_rounds=1, label_privacy=RandomizedResponse(1.0, 2)).validate_context()
    with pytest.raises(ConfigurationError, match=r"label_privacy must be RandomizedResponse\(epsilon, classes\)"):
        Bare("host", max_rounds=1, label_privacy=1.0).validate_context()  # type: ignore[arg-type]
