"""What a session of predictions gives: an output for each id that was asked for, or the reason why there is none."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from protocols.core.wording import plural
from protocols.psi import normal_form
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.id_files import check_parquet, is_parquet

JOINT, ALONE = "joint", "fallback"


@dataclass(frozen=True)
class Predictions:
    """Of one session, in the order of the request. A mapping of the ids that were predicted to their outputs.

    Attributes:
        ids: as they were asked for; repeated ones too.
        outputs: [n, k] float32 of the ids that were predicted, each once.
        at: the row of `outputs` of each of them.
        reasons: why others have no prediction.
        labels: the Host's, of the rows of `outputs`, where its iterators yield any.
        transcripts: of what was exchanged, one a collaborator.
        refused: of those without a prediction, those that a collaborator holds back, since a budget is spent.
        classes: names of the outputs, where they are known; empty: there are no classes, an output is a number.
        source: who has predicted: all parties (`JOINT`), or the Host alone (`ALONE`).
    """

    ids: tuple[str, ...]
    outputs: torch.Tensor = field(repr=False)
    at: Mapping[str, int] = field(repr=False)
    reasons: Mapping[str, str] = field(repr=False)
    labels: tuple[Any, ...] = field(default=(), repr=False)
    transcripts: tuple[Path, ...] = ()
    refused: frozenset[str] = field(default=frozenset(), repr=False)
    classes: tuple[str, ...] | None = None
    source: str = JOINT

    def __post_init__(self) -> None:
        if self.classes and self.width and len(self.classes) != max(2, self.width):
            raise ConfigurationError(
                f"class_names has {plural(len(self.classes), 'name')}, and a prediction "
                f"{plural(self.width, 'output')}: name each, or both classes where one is the logit of class 1"
            )

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[str]:
        return iter(self.at)

    def __contains__(self, sample: object) -> bool:
        return sample in self.at

    @property
    def width(self) -> int:
        """Numbers in one output."""
        return self.outputs.shape[1] if self.outputs.ndim == 2 and len(self.outputs) else 0

    def __getitem__(self, sample: str) -> torch.Tensor:
        """The output of an id. Raises `KeyError` with the reason if there is none."""
        if sample not in self.at:
            raise KeyError(f"{sample}: {self.reasons.get(sample, 'it was not asked for')}")
        return self.outputs[self.at[sample]]

    def of(self, ids: Sequence[str]) -> Predictions:
        """The part of these, which were among those asked for."""
        return replace(
            self,
            ids=tuple(ids),
            at={each: self.at[each] for each in ids if each in self.at},
            reasons={each: self.reasons[each] for each in ids if each not in self.at},
            refused=self.refused.intersection(ids),
        )

    @property
    def columns(self) -> list[str]:
        """Of the table that `rows` gives."""
        outputs = [f"output_{at}" for at in range(self.width)]
        return ["id", "status", "reason", "prediction", *outputs, *(["source"] if self.source == ALONE else [])]

    def rows(self) -> Iterator[list[Any]]:
        """A row for each id of the request: id, status, the reason, the prediction, and the outputs.

        The prediction is the number of the largest output, or its name if it has one, or the output itself where there
        is one only. What the Host alone has predicted says so in a last column, "source".
        """
        source = [ALONE] if self.source == ALONE else []
        for sample in self.ids:
            if sample not in self.at:
                yield [sample, self.status(sample), self.reasons[sample], None, *([None] * self.width), *source]
                continue
            values = self.outputs[self.at[sample]].tolist()
            yield [sample, "predicted", "", self.said(values), *values, *source]

    def said(self, values: Sequence[float]) -> float | str:
        """What an output says: the number of its largest value, or that class's name; or the value itself where there
        is one only and no name. No number where a value is none: whatever it is compared with would come out first.
        """
        if any(map(math.isnan, values)):
            return math.nan
        if len(values) > 1:
            found = values.index(max(values))
            return self.classes[found] if self.classes else found
        return self.classes[int(values[0] > 0)] if self.classes else values[0]

    def status(self, sample: str) -> str:
        """Of an id of the request: "predicted", "missing", or "refused"."""
        return "predicted" if sample in self.at else "refused" if sample in self.refused else "missing"

    def write(self, path: Path | str) -> None:
        """Write a table: Parquet if the file's name ends so, else CSV. A new file is for its owner only (0600).

        Raises:
            MissingExtra: Parquet needs pyarrow.
            ConfigurationError: the file cannot be written.
        """
        path = Path(path)
        try:
            if is_parquet(path):
                self._write_parquet(path)
            else:
                with open(path, "w", newline="", encoding="utf-8", opener=_for_its_owner) as file:
                    writer = csv.writer(file)
                    writer.writerow(self.columns)
                    writer.writerows(self.rows())
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error

    def _write_parquet(self, path: Path) -> None:
        check_parquet()
        import pyarrow
        import pyarrow.parquet

        columns = list(zip(*self.rows())) or [()] * len(self.columns)
        table = {name: list(values) for name, values in zip(self.columns, columns)}
        with open(path, "wb", opener=_for_its_owner) as file:
            pyarrow.parquet.write_table(pyarrow.table(table), file)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def checked(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids that somebody asks for. Raises `ConfigurationError` unless they are texts."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise ConfigurationError(f"ids to predict must be a list of texts, not {type(ids).__name__}")
    listed = tuple(ids)
    wrong = next((each for each in listed if not isinstance(each, str)), None)
    if wrong is not None:
        raise ConfigurationError(f"ids to predict must be a list of texts, not of {type(wrong).__name__}")
    return listed


class Request:
    """Ids that are asked for, and which of them this party holds.

    Args:
        ids: in any order, also repeated.
        held: this party's own; None: it may ask about any.
        party: its name.
        classes: names of the outputs, as `Predictions` has them.

    Attributes:
        own: the form in which parties compare ids, of each that this party holds.
        reasons: why others cannot be predicted.
    """

    def __init__(
        self,
        ids: Sequence[str],
        held: Container[str] | None,
        party: str,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.ids = checked(ids)
        self._classes = classes
        known = {each: normal_form(each) for each in self.ids}
        self.own = {each: own for each, own in known.items() if held is None or own in held}
        self.reasons = {each: f"{party} does not hold it" for each in self.ids if each not in self.own}

    @property
    def asked(self) -> list[str]:
        """What others are asked about: each id once."""
        return list(dict.fromkeys(self.own.values()))

    def answered(
        self,
        found: Sequence[str],
        outputs: torch.Tensor,
        holders: Mapping[str, Container[str]],
        labels: tuple[Any, ...] = (),
        transcripts: Sequence[Path] = (),
        refusals: Mapping[str, str] | None = None,
    ) -> Predictions:
        """The outcome.

        Args:
            found: the ids, in the form in which they are compared, that were predicted.
            outputs: of these.
            holders: which of the asked ids each collaborator holds.
            refusals: why some ids are held back, though they may be held.
        """
        position = {each: at for at, each in enumerate(found)}
        at = {each: position[own] for each, own in self.own.items() if own in position}
        reasons, held_back = dict(self.reasons), refusals or {}
        for each, own in self.own.items():
            if own not in position:
                without = [key for key, held in holders.items() if own not in held]
                reasons[each] = held_back.get(own) or f"{', '.join(without) or 'somebody'} does not hold it"
        refused = frozenset(each for each, own in self.own.items() if own in held_back and each not in at)
        return Predictions(self.ids, outputs, at, reasons, labels, tuple(transcripts), refused, self._classes)
