"""A host asks for one sample's prediction in many batches, whose company changes the last bits of its row.

Smoothing noise is a function of a row's bits, so in the weak design every spelling of a row is a draw of its own, and
their average has less noise. Ours shows the bits that it showed first (secure_hfl/prediction/shown_rows.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from protocols.core.fixed_point import FEATURE_BITS
from protocols.core.randomness import OsRandomness
from protocols.layer.smoothing import SmoothingNoise
from secure_hfl.errors import TaskError
from secure_hfl.prediction.features import PredictionFeatures, Rows
from secure_hfl.prediction.shown_rows import SHOWN, ShownRows
from tests.engine.memory_parties import COLLABORATOR
from tests.prediction.memory_sessions import Sessions, trained

TIMES, WIDTH = 60, 8
ROW = np.linspace(-1, 1, WIDTH, dtype=np.float32)


def spelled(number: int) -> np.ndarray:
    """The row as a batch of another size has it: a few last bits off: a step of the fixed point each."""
    return ROW * np.float32(1 + number * 2.0**-16)


def error_of_the_average(rows: Sequence[np.ndarray]) -> float:
    """Deviation of the average of the noise on these questions, in its own deviations."""
    noise = SmoothingNoise(OsRandomness())
    quantised = np.rint(np.array(rows, np.float64) * 2.0**FEATURE_BITS).astype(np.int64)
    return float(np.std(noise.draw(0, 0, quantised, 1024).mean(axis=0)))


def test_averaging_works_on_the_bits_that_batches_give_and_not_on_those_that_are_shown(tmp_path: Path) -> None:
    asked = [spelled(number) for number in range(TIMES)]
    shown = []
    for number, row in enumerate(asked):  # each time from the disk, among other ids, as another session has it
        company = np.concatenate([np.full((number % 5, WIDTH), 3, np.float32), row[None]])
        ids = [*(f"other {each}" for each in range(number % 5)), "asked"]
        shown.append(ShownRows(tmp_path / SHOWN, b"training").settle(ids, company)[-1])
    assert error_of_the_average(asked) < 2 / np.sqrt(TIMES)
    assert error_of_the_average(shown) > 0.8
    assert len({row.tobytes() for row in shown}) == 1
    assert np.array_equal(shown[0], asked[0])


def test_a_row_that_has_changed_is_another_question_and_comes_back_as_itself(tmp_path: Path) -> None:
    rows = ShownRows(tmp_path / SHOWN, b"training")
    changed = ROW * np.float32(1.1)
    shown = [
        rows.settle(["a"], each[None])[0] for each in (ROW, changed, spelled(1), changed * np.float32(1 + 2.0**-15))
    ]
    assert [each.tobytes() for each in shown] == [ROW.tobytes(), changed.tobytes()] * 2
    assert np.array_equal(ShownRows(tmp_path / SHOWN, b"another").settle(["a"], spelled(3)[None])[0], spelled(3))
    assert (tmp_path / SHOWN).stat().st_mode & 0o777 == 0o600


def test_rows_that_cannot_be_read_show_nothing(tmp_path: Path) -> None:
    rows = ShownRows(tmp_path / SHOWN, b"training")
    rows.settle(["a"], ROW[None])
    with pytest.raises(TaskError, match="rows of another width"):
        rows.settle(["a"], ROW[None, :3])
    (tmp_path / SHOWN).write_bytes(b"not a database, but long enough to be taken for one" * 40)
    with pytest.raises(TaskError, match=r"rows\.sqlite"):
        rows.settle(["a"], ROW[None])


def test_one_id_has_one_answer_in_every_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parties = trained(tmp_path, "bfv")
    honest, sizes = PredictionFeatures.of, list[int]()

    def of(self: PredictionFeatures, ids: Sequence[str]) -> Rows:
        rows = honest(self, ids)
        if self._user is parties.runs[COLLABORATOR].bench.user or self._scheduler is parties.schedulers[COLLABORATOR]:
            sizes.append(len(ids))
            return Rows(rows.ids, rows.features * torch.tensor(1 + len(ids) * 2.0**-12), rows.labels)
        return rows

    monkeypatch.setattr(PredictionFeatures, "of", of)
    answers = [Sessions(parties).predict(["100", *company])["100"] for company in ([], ["33", "64", "96"])]
    assert sorted(set(sizes)) == [1, 4]
    assert torch.allclose(*answers, atol=1e-6, rtol=0)  # the host's own model has last bits too; noise is 4e-4
