"""Features of given ids, from the user's methods.

`iterate_prediction_feature`, where the user has it, yields them in the order of the ids. Else the iterators of training
do: `iterate_train_feature` for ids that were trained on, `iterate_test_feature` for all others, labels kept aside. What
they yield must be known by id. Either they say so (`confirm_batch_ids`), or they keep the order of the ids that they
are given; then a few ids are asked for one by one, and must come out as they did among the others. Where they do not,
every id is asked for by itself, which is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from protocols.core.randomness import OsRandomness
from protocols.core.wording import plural
from protocols.task.alignment import OrderedIds, SampleId
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.engine.user_code import UserCode, check_features, iterator_name, own_batch
from secure_hfl.errors import UserCodeError
from secure_hfl.log import logger

SPOT_CHECKS = 8
"""Ids that are asked for by themselves, to see that the iterator keeps the order."""

TRUSTED_AFTER = 4 * SPOT_CHECKS
"""Once so many ids of one iterator have passed, one is asked for by itself in each batch."""

MANY_LABELS = 2000
"""Beyond so many, it is said that labels are asked for one by one."""

TOLERANCE = 1e-3
"""Relative: the same row in batches of different sizes differs in its last bits."""


@dataclass(frozen=True, repr=False)
class Rows:
    """What a party has of some ids.

    Attributes:
        ids: as text.
        features: [n, d] as the bottom model gives them, on its device, in their order.
        labels: as the host's iterators yield them, one for each; empty at a collaborator.
    """

    ids: tuple[str, ...]
    features: torch.Tensor
    labels: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"<Rows of {len(self.ids)} ids>"

    @property
    def plain(self) -> torch.Tensor:
        """The features in float32 on the CPU."""
        return self.features.to("cpu", torch.float32)


class PredictionFeatures:
    """One party's features.

    Args:
        user: calls the methods.
        scheduler: has them.
        model: the bottom model, in eval mode.
        train_ids, other_ids: those of the training, as the user's split had them, as far as they are known.
    """

    def __init__(
        self,
        user: UserCode,
        scheduler: PartyScheduler,
        model: nn.Module,
        train_ids: Collection[SampleId] = (),
        other_ids: Collection[SampleId] = (),
    ) -> None:
        self._user, self._scheduler, self._model = user, scheduler, model
        self._trained = {str(each): each for each in train_ids}
        self._known = {**{str(each): each for each in other_ids}, **self._trained}
        self._passed: dict[str, int] = {}
        self._are_numbers = bool(self._known) and all(isinstance(each, int) for each in self._known.values())

    def of(self, ids: Sequence[str]) -> Rows:
        """Rows of distinct ids, in their order.

        Raises:
            UserCodeError: a method failed, or yields something else than a row for each id.
        """
        if not self._user.is_feature_holder:
            return Rows(tuple(ids), torch.empty(len(ids), 0))
        with torch.no_grad():
            if self._scheduler.has_prediction_features:
                name, make = "iterate_prediction_feature", self._scheduler.iterate_prediction_feature
                rows = self._collect(name, make(self._model, [self._typed(each) for each in ids]))
                return _checked(name, tuple(ids), *rows[1:])
            trained = [each for each in ids if each in self._trained]
            others = [each for each in ids if each not in self._trained]
            parts = [self._part(group, is_train) for group, is_train in ((trained, True), (others, False)) if group]
        return _in_order(ids, parts)

    def labels_of(self, ids: Sequence[str]) -> tuple[Any, ...]:
        """Of a host that has labels only: one for each of these distinct ids, in their order.

        Each id is asked for by itself: labels alone do not show whether an iterator keeps the order of its ids.

        Raises:
            UserCodeError: a method failed, or does not yield one label for one id.
        """
        if len(ids) > MANY_LABELS:
            logger.info(f"Asking for the labels of {plural(len(ids), 'id')}, one by one.")
        return tuple(self._label_of(each) for each in ids)

    def _label_of(self, sample: str) -> Any:
        name = iterator_name(sample in self._trained)
        batches = self._user.batches(sample in self._trained, self._model, OrderedIds([self._typed(sample)]))
        labels = [each for batch in batches for each in own_batch(name, batch, False)[1]]
        self._user.take_confirmed_ids()
        if len(labels) != 1:
            raise UserCodeError(
                f"{name} yields {plural(len(labels), 'label')} for one id: leave out drop_last and limits"
            )
        return labels[0]

    def _typed(self, sample: str) -> SampleId:
        """An id as the user's split has them: numbers, where all known ones are."""
        if sample in self._known:
            return self._known[sample]
        is_number = self._are_numbers and sample.isdecimal() and str(int(sample)) == sample
        return int(sample) if is_number else sample

    def _part(self, ids: list[str], is_train: bool) -> Rows:
        """Rows through one of the iterators of training."""
        name = "iterate_train_feature" if is_train else "iterate_test_feature"
        named, features, labels = self._ask(name, ids)
        if named is not None:
            if sorted(named) != sorted(ids):
                raise UserCodeError(f"{name} confirmed other ids than the {len(ids)} that it was given")
            return _checked(name, tuple(named), features, labels)
        ordered = tuple(str(each) for each in OrderedIds(map(self._typed, ids)))
        if len(features) == len(ids) and self._keeps_order(name, ordered, features):
            return _checked(name, ordered, features, labels)
        logger.warning(
            f"{name} does not keep the order of the ids that it is given: asking for {plural(len(ids), 'id')} one by "
            "one. confirm_batch_ids in it, or an iterate_prediction_feature, makes this fast."
        )
        return self._one_by_one(name, ordered)

    def _keeps_order(self, name: str, ids: Sequence[str], features: torch.Tensor) -> bool:
        is_trusted = self._passed.get(name, 0) >= TRUSTED_AFTER
        if is_trusted and len(ids) == 1:
            return True
        count = min(len(ids), 1 if is_trusted else SPOT_CHECKS)
        for at in OsRandomness().permutation(len(ids))[:count].tolist():
            _, alone, _ = self._ask(name, [ids[at]])
            if not _is_one_like(alone, features[at]):
                _, again, _ = self._ask(name, [ids[at]])
                if not _is_one_like(again, alone[0] if len(alone) else features[at]):
                    raise UserCodeError(
                        f"{name} does not yield one and the same row for one and the same id, so it cannot be used for "
                        "predictions: implement iterate_prediction_feature(self, feature_model, ids)"
                    )
                return False
        self._passed[name] = self._passed.get(name, 0) + (count if len(ids) > 1 else 0)
        return True

    def _one_by_one(self, name: str, ids: Sequence[str]) -> Rows:
        found = [self._ask(name, [each]) for each in ids]
        return _checked(
            name,
            tuple(ids),
            _joined([each[1] for each in found], name),
            tuple(label for each in found for label in each[2]),
        )

    def _ask(self, name: str, ids: Sequence[str]) -> tuple[list[str] | None, torch.Tensor, tuple[Any, ...]]:
        """The ids that were confirmed, if any; features and labels as they come."""
        method: Callable[[nn.Module, Any], Any] = getattr(self._scheduler, name)
        made = self._user.call(name, method, self._model, OrderedIds(map(self._typed, ids)))
        return self._collect(name, made)

    def _collect(self, name: str, made: object) -> tuple[list[str] | None, torch.Tensor, tuple[Any, ...]]:
        if not isinstance(made, Iterable):
            raise UserCodeError(f"{name} must yield batches or return them in an iterable, not {type(made).__name__}")
        features: list[torch.Tensor] = []
        labels: list[Any] = []
        named: list[str] = []
        self._user.take_confirmed_ids()
        for batch in self._each(name, iter(made)):
            part, some = (batch[0], list(batch[1:2])) if isinstance(batch, (tuple, list)) and batch else (batch, [])
            rows = check_features(name, part).detach()
            features.append(rows)
            for each in some:
                labels += _one_for_each(each, len(rows))
            named += [str(each) for each in self._user.take_confirmed_ids() or ()]
        together = _joined(features, name) if features else torch.empty(0, 0)
        return (named if len(named) == len(together) and named else None), together, tuple(labels)

    def _each(self, name: str, iterator: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while True:
            with torch.no_grad():
                batch = self._user.call(name, next, iterator, end)
            if batch is end:
                return
            yield batch


def _one_for_each(labels: Any, count: int) -> list[Any]:
    """What stands beside so many rows, where it is one label for each; else nothing for each."""
    try:
        found = list(labels)
    except TypeError:  # it has no parts
        found = []
    return found if len(found) == count else [None] * count


def _joined(parts: Sequence[torch.Tensor], name: str) -> torch.Tensor:
    """Rows of several batches. Raises `UserCodeError` if they are not equally wide."""
    widths = sorted({part.shape[1] for part in parts if len(part)})
    if len(widths) > 1:
        raise UserCodeError(f"features of {name} are {' and '.join(map(str, widths))} wide, and must be equally wide")
    return torch.cat([part for part in parts if len(part)] or list(parts[:1]))


def _is_one_like(rows: torch.Tensor, row: torch.Tensor) -> bool:
    scale = float(row.abs().max()) + 1e-6
    return len(rows) == 1 and rows.shape[1:] == row.shape and float((rows[0] - row).abs().max()) <= TOLERANCE * scale


def _checked(name: str, ids: tuple[str, ...], features: torch.Tensor, labels: tuple[Any, ...]) -> Rows:
    if len(features) != len(ids):
        raise UserCodeError(
            f"{name} yields {plural(len(features), 'row')} for {plural(len(ids), 'id')}: a prediction needs each "
            "once. Leave out drop_last and limits on batches, or implement iterate_prediction_feature(self, "
            "feature_model, ids)"
        )
    return Rows(ids, features, labels if len(labels) == len(ids) else ())


def _in_order(ids: Sequence[str], parts: Sequence[Rows]) -> Rows:
    at = {sample: number for number, sample in enumerate(sample for part in parts for sample in part.ids)}
    features = _joined([part.features for part in parts], "iterate_train_feature and iterate_test_feature")
    labels = [label for part in parts for label in part.labels]
    order = [at[each] for each in ids]
    has_labels = len(labels) == len(features)
    return Rows(tuple(ids), features[order], tuple(labels[each] for each in order) if has_labels else ())
