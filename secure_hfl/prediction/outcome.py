"""What a session of predictions gives: an output for each id that was asked for, or the reason why there is none."""

from __future__ import annotations

import csv
import importlib.util
import os
import unicodedata
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from protocols.core.errors import MissingExtra
from secure_hfl.errors import ConfigurationError

PARQUET = ".parquet"
JOINT, ALONE = "joint", "fallback"


@dataclass(frozen=True)
class Predictions:
    """Of one session, in the order of the request.

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

    def __len__(self) -> int:
        return len(self.ids)

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
        """What an output says: the name of its class, where classes have names, else as `prediction_of`."""
        found = prediction_of(values)
        return self.classes[int(found)] if self.classes else found

    def status(self, sample: str) -> str:
        """Of an id of the request: "predicted", "missing", or "refused"."""
        return "predicted" if sample in self.at else "refused" if sample in self.refused else "missing"

    def write(self, path: Path) -> None:
        """Write a table: Parquet if the file's name ends so, else CSV. A new file is for its owner only (0600).

        Raises:
            MissingExtra: Parquet needs pyarrow.
            ConfigurationError: the file cannot be written.
        """
        try:
            if path.suffix == PARQUET:
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


def prediction_of(values: Sequence[float]) -> float:
    """What an output says: the number of the largest value, or the value itself where there is one only."""
    return values[0] if len(values) == 1 else values.index(max(values))


def check_parquet() -> None:
    """Raise `MissingExtra` unless Parquet files can be written and read here."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("Parquet files need pyarrow: pip install 'secure-hfl[parquet]', or use a .csv file")


def read_ids(path: Path) -> list[str]:
    """The ids in a file: the column "id" (or else the first) of a .csv or .parquet file; of others, every line.

    Raises:
        ConfigurationError: it cannot be read, or holds no id.
    """
    try:
        if path.suffix == PARQUET:
            ids = _parquet_ids(path)
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = [row for row in csv.reader(file) if row]
            at = rows[0].index("id") if rows and "id" in rows[0] else 0
            ids = [row[at] for row in (rows[1:] if rows and "id" in rows[0] else rows)]
        else:
            ids = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise ConfigurationError(f"{path} cannot be read as a list of ids: {error}") from error
    if not ids:
        raise ConfigurationError(f"{path} holds no id")
    return ids


def _parquet_ids(path: Path) -> list[str]:
    check_parquet()
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    name = "id" if "id" in table.column_names else table.column_names[0]
    return [str(each) for each in table.column(name).to_pylist()]


def spelled(held: Sequence[str]) -> dict[str, str]:
    """A party's ids, by the form in which PSI compares them."""
    return {normal(each): each for each in held}


class Request:
    """Ids that are asked for, and which of them this party holds.

    Args:
        ids: in any order, also repeated.
        held: this party's own, as `spelled` gives them; None: it may ask about any.
        party: its name.
        classes: names of the outputs, as `Predictions` has them.

    Attributes:
        own: this party's spelling of each, by the spelling of the request; as PSI compares ids, by their NFC form.
        reasons: why others cannot be predicted.
    """

    def __init__(
        self,
        ids: Sequence[str],
        held: Mapping[str, str] | None,
        party: str,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        wrong = next((each for each in ids if not isinstance(each, str)), None)
        if wrong is not None or isinstance(ids, str):
            raise ConfigurationError(f"ids to predict must be a list of texts, not of {type(wrong or ids).__name__}")
        self.ids = tuple(ids)
        self._classes = classes
        known = spelled(ids) if held is None else held
        self.own = {each: known[normal(each)] for each in ids if normal(each) in known}
        self.reasons = {each: f"{party} does not hold it" for each in ids if each not in self.own}

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
            found: the ids, in this party's spelling, that were predicted.
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


def normal(sample: str) -> str:
    """The form in which ids are compared."""
    return sample if sample.isascii() else unicodedata.normalize("NFC", sample)
