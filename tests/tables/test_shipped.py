"""The tables that are shipped are those that their generator makes, and overlap as is said of them."""

from __future__ import annotations

import csv
from pathlib import Path

from secure_hfl.examples.tables import CLINIC, LABORATORY
from secure_hfl.examples.tables.make_tables import texts


def test_the_generator_makes_the_files() -> None:
    assert texts() == {path.name: path.read_bytes() for path in (CLINIC, LABORATORY)}


def test_they_overlap() -> None:
    def ids(path: Path, delimiter: str) -> set[str]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row[0] for row in list(csv.reader(file, delimiter=delimiter))[1:]}

    clinic, laboratory = ids(CLINIC, ","), ids(LABORATORY, ";")
    assert (len(clinic), len(laboratory), len(clinic & laboratory)) == (485, 484, 400)
