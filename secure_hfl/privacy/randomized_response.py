"""Training labels that are wrong by chance, once and for all: what the Host's `label_privacy` takes.

    true label y of sample i -> PRF(key; i, y): a 64-bit word -> y, or another class -> train_a_batch, all rounds

Whoever sees what training made (gradients of every round, weights, the finished model) sees something made from these
labels, and none of it from the true ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F

from protocols.core.randomness import KeyedFunction
from protocols.psi.packed import PackedIds
from protocols.task.alignment import SampleId
from secure_hfl.errors import ConfigurationError, UserCodeError

WORD_BYTES = 8
WORDS = 1 << 64
"""How many words there are, all equally likely."""

MIN_EPSILON, MAX_EPSILON = 0.01, 20.0
"""Less than that is noise only, more is no protection; in between the integers below are exact enough."""

MAX_CLASSES = 1 << 16

_DIGITS = 60


@dataclass(frozen=True)
class RandomizedResponse:
    """k-ary randomised response: each training label is kept, or replaced by one of the other classes.

    A label is drawn once for each sample, by a PRF under a key that only this task's Host has. So every round, every
    collaborator and every resumed run sees the same label, and nothing is averaged away. Kept with probability about
    e^epsilon / (e^epsilon + k - 1); each other class has probability `flips` / 2^64.

    **Theorem.** Take two training sets that differ in one label, and anything D that a party may decide from all that
    training showed it, through all rounds, batches, interruptions and resumed runs of the task:
    P(D | one) <= e^epsilon P(D | other). It holds against all collaborators together, whether they follow the protocol
    or not, who may know all features, all other labels, and the finished models: what they see is computed from the
    drawn labels. Pure epsilon-DP in each label ("label DP"), for one task from its first start to its end.

    What it rests on:

    * The drawn words look random to who lacks the key (SHAKE256 with 256 secret bits). While the task is unfinished the
      key is on the Host's disk, among its checkpoints. In a run with `--seed` it is known: **no protection**.
    * The user's code uses true training labels nowhere else: no class weights, no sampling, no split, no choice of
      model, no stopping rule, no statistics that leave the Host. The features that iterators yield do not depend on
      them.
    * A sample has one id and one label. (Another label later in the process is refused.) A person who is in several
      samples has as many labels: the bound is epsilon for each.
    * Test labels stay true, and this says nothing about them. What `test` computes stays at the Host; but whoever
      chooses rounds by it shows collaborators that choice.
    * A task that is started anew, instead of resumed, draws anew and spends another epsilon. So does another task with
      the same labels.

    Args:
        epsilon: the bound, from 0.01 to 20. 1 is strong and costs much accuracy; above about 5 most labels are kept.
        classes: k; labels are 0 to k - 1.

    Attributes:
        flips: of 2^64 words, how many lead to one given other class. Rounded up, so that the ratio of any two
            probabilities of a label is at most e^epsilon exactly.

    **Reference** Warner, Randomized Response (JASA 1965); Kairouz, Bonawitz, Ramage, Discrete Distribution Estimation
    under Local Privacy (ICML 2016); Ghazi et al., Deep Learning with Label Differential Privacy (NeurIPS 2021).
    """

    epsilon: float
    classes: int
    flips: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        epsilon, classes = self.epsilon, self.classes
        is_number = isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool)
        if not is_number or not MIN_EPSILON <= epsilon <= MAX_EPSILON:
            raise ConfigurationError(
                f"RandomizedResponse: epsilon must be {MIN_EPSILON:g} to {MAX_EPSILON:g}, not {epsilon!r}"
            )
        if type(classes) is not int or not 2 <= classes <= MAX_CLASSES:
            raise ConfigurationError(f"RandomizedResponse: classes must be 2 to {MAX_CLASSES}, not {classes!r}")
        object.__setattr__(self, "flips", math.ceil(WORDS / (_exp_rounded_down(epsilon) + classes - 1)))

    @property
    def parameters(self) -> dict[str, float]:
        """By name."""
        return {"epsilon": self.epsilon, "classes": self.classes}

    @property
    def flip_probability(self) -> float:
        """Of one given other class."""
        return self.flips / WORDS

    @property
    def keep_probability(self) -> float:
        """Of the true one."""
        return (WORDS - (self.classes - 1) * self.flips) / WORDS

    def answer(self, label: int, word: int) -> int:
        """The label that is trained on.

        Args:
            label: the true one.
            word: uniform in [0, 2^64).
        """
        step = word // self.flips
        return (label + 1 + step) % self.classes if step < self.classes - 1 else label

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of labels that were drawn, corrected for how they were drawn ("forward correction").

        The model's probabilities go through the transition matrix before they are compared, so that it learns the true
        classes: -log(sum_c P(label | true class c) p_c), the mean over the batch. Test with plain cross-entropy.

        Args:
            logits: [rows, classes], or their log-softmax; for two classes also [rows] or [rows, 1], of class 1.
            labels: [rows] int64, as `train_a_batch` gets them.

        **Reference** Patrini et al., Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach
        (CVPR 2017).
        """
        if self.classes == 2 and (logits.ndim == 1 or logits.shape[1:] == (1,)):
            positive = logits.reshape(-1)
            logits = torch.stack((torch.zeros_like(positive), positive), dim=1)
        if logits.ndim != 2 or logits.shape[1] != self.classes:
            raise ConfigurationError(
                f"label_privacy.loss needs logits [rows, {self.classes}], and got {list(logits.shape)}"
            )
        chosen = -F.nll_loss(F.log_softmax(logits, dim=1), labels.long(), reduction="none")
        kept = chosen + math.log(self.keep_probability - self.flip_probability)
        flipped = torch.full_like(kept, math.log(self.flip_probability))
        return -torch.logaddexp(kept, flipped).mean()


class LabelDraws:
    """Replaces the labels of training batches.

    Args:
        response: how.
        key: 32 secret bytes, the same for the whole task.
        train_ids: of the samples that may come.
    """

    def __init__(self, response: RandomizedResponse, key: bytes, train_ids: Collection[SampleId]) -> None:
        self._response = response
        head = f"secure-hfl label privacy v1, {float(response.epsilon).hex()}, {response.classes} classes: "
        self._words = KeyedFunction(key, head.encode())
        self._train_ids = train_ids if isinstance(train_ids, PackedIds) else frozenset(map(str, train_ids))
        self._known: dict[str, int] = {}
        """The true label of each sample that has come, times the number of classes, plus the drawn one: by id."""

    def __call__(self, labels: Any, ids: Sequence[SampleId] | None, rows: int) -> torch.Tensor:
        """The labels that are trained on, like `labels` in shape, dtype and device.

        Args:
            labels: true ones, as the user's iterator yields them.
            ids: of the batch, as the user's code confirmed them; None: it did not.
            rows: samples in the batch.

        Raises:
            UserCodeError: these are not a label and an id for each sample.
        """
        true = self._checked(labels, rows)
        if ids is None:
            raise UserCodeError(
                "label_privacy draws one label for each sample, so it must know whose labels these are: call "
                "self.confirm_batch_ids(ids) before each yield of iterate_train_feature"
            )
        if len(ids) != rows:
            raise UserCodeError(f"confirm_batch_ids named {len(ids)} ids for a batch of {rows}")
        drawn = [self._draw(str(sample), label) for sample, label in zip(ids, true.tolist(), strict=True)]
        return torch.tensor(drawn, dtype=true.dtype, device=true.device)

    def _checked(self, labels: Any, rows: int) -> torch.Tensor:
        classes = self._response.classes
        wanted = f"label_privacy needs class labels 0 to {classes - 1} as an integer tensor [{rows}]"
        if not isinstance(labels, torch.Tensor):
            raise UserCodeError(f"{wanted}, and iterate_train_feature yields a {type(labels).__name__}")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise UserCodeError(
                f"{wanted}, and iterate_train_feature yields {labels.dtype}. If they are classes, convert them by "
                ".long() there, and back in train_a_batch"
            )
        if torch.iinfo(labels.dtype).max < classes - 1:
            raise UserCodeError(f"{wanted}, and iterate_train_feature yields {labels.dtype}, which ends before")
        if labels.shape != (rows,):
            raise UserCodeError(f"{wanted}, and iterate_train_feature yields {list(labels.shape)}")
        if rows and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise UserCodeError(f"{wanted}, and iterate_train_feature yields others: is classes={classes} right?")
        return labels.detach()

    def _draw(self, sample: str, label: int) -> int:
        known = self._known.get(sample)
        if known is None:
            known = self._known[sample] = label * self._response.classes + self._draw_first(sample, label)
        before, drawn = divmod(known, self._response.classes)
        if before != label:
            raise UserCodeError(
                f"sample {sample!r} has another label than before. label_privacy protects one label of each sample: "
                "are the ids of confirm_batch_ids in the batch's order?"
            )
        return drawn

    def _draw_first(self, sample: str, label: int) -> int:
        if sample not in self._train_ids:
            raise UserCodeError(f"confirm_batch_ids named {sample!r}, which is not among the training ids")
        # The label is part of what the word is drawn for: with one word for two labels of a sample, the difference of
        # what is drawn would be the difference of the true ones.
        word = self._words(label.to_bytes(4, "little") + sample.encode(), WORD_BYTES)
        return self._response.answer(label, int.from_bytes(word, "little"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._response}, <secret>)"


def _exp_rounded_down(epsilon: float) -> Fraction:
    """A rational just below e^epsilon: `Decimal.exp` is correctly rounded, so the number before it is not above."""
    context = Context(prec=_DIGITS, rounding=ROUND_FLOOR)
    return Fraction(Decimal(epsilon).exp(context).next_minus(context))
