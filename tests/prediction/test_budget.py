"""What a Collaborator allows of predictions: counted before anything is shown, kept, and refused with the numbers."""

from __future__ import annotations

import stat
from datetime import date
from pathlib import Path

import pytest

from protocols.core.errors import WrongSession
from protocols.task.terms import RunLimits
from secure_hfl.errors import TaskError
from secure_hfl.prediction.budget import COUNTS, BudgetUse, PredictionBudget


def test_predictions_of_a_sample_are_counted_over_processes(tmp_path: Path) -> None:
    path = tmp_path / COUNTS
    for _ in range(2):  # as two processes
        PredictionBudget(path, "bank", RunLimits(predictions=2)).predict(["a", "b"])
    budget = PredictionBudget(path, "bank", RunLimits(predictions=2))
    with pytest.raises(WrongSession, match="bank allows 2 of each sample over all sessions, and 2 of the 3 samples"):
        budget.predict(["a", "b", "c"])
    assert [budget.times(each) for each in "abc"] == [2, 2, 0]
    PredictionBudget(path, "bank", RunLimits()).predict(["a"])
    assert budget.times("a") == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ids_that_are_asked_for_are_counted_by_the_day(tmp_path: Path) -> None:
    days = [date(2026, 5, 1), date(2026, 5, 1), date(2026, 5, 2)]
    limits = RunLimits(asked_a_day=10)
    budgets = [PredictionBudget(tmp_path / COUNTS, "bank", limits, lambda day=day: day) for day in days]
    budgets[0].ask(7)
    with pytest.raises(
        WrongSession, match="10 ids in a day, 7 have been asked for today and this session asks about 4"
    ):
        budgets[1].ask(4)
    budgets[1].ask(3)
    budgets[2].ask(10)


def test_on_line_it_says_what_is_left_and_counts_nothing_that_is_refused(tmp_path: Path) -> None:
    budget = PredictionBudget(tmp_path / COUNTS, "bank", RunLimits(predictions=1, asked_a_day=5))
    assert budget.asked_today() == 0
    assert [budget.ask_or_left(count) for count in (3, 3, 2, 1)] == [None, 2, None, 0]
    assert budget.asked_today() == 5
    assert budget.predict_or_spent(["a"]) == [False]
    assert budget.predict_or_spent(["b", "a"]) == [False, True]
    assert (budget.times("a"), budget.times("b")) == (1, 0)
    free = PredictionBudget(tmp_path / COUNTS, "bank", RunLimits())
    assert free.ask_or_left(1000) is None
    assert free.predict_or_spent(["a", "b"]) == [False, False]


def test_what_is_left_is_less_than_was_asked_about_also_at_midnight(tmp_path: Path) -> None:
    days = iter([date(2026, 5, 1), date(2026, 5, 1), date(2026, 5, 2)])
    budget = PredictionBudget(tmp_path / COUNTS, "bank", RunLimits(asked_a_day=10), lambda: next(days))
    budget.ask(8)
    assert budget.ask_or_left(4) == 3, "the new day has ten, and the host's check of an answer allows three"


def test_damaged_counts_allow_nothing(tmp_path: Path) -> None:
    (tmp_path / COUNTS).write_bytes(b"no database at all" * 100)
    with pytest.raises(TaskError, match="is not known, so none is"):
        PredictionBudget(tmp_path / COUNTS, "bank", RunLimits()).predict(["a"])


def test_what_was_used_is_told_without_making_a_file(tmp_path: Path) -> None:
    path, limits = tmp_path / COUNTS, RunLimits(predictions=2, asked_a_day=10)
    budget = PredictionBudget(path, "bank", limits)
    assert budget.use() == BudgetUse()
    assert not path.exists()
    budget.ask(7)
    for ids in ("ab", "bc", "b"):
        PredictionBudget(path, "bank", RunLimits()).predict(list(ids))
    assert budget.use() == BudgetUse(asked=7, samples=3, spent=1, most=3)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(TaskError, match="is not known"):
        budget.use()
