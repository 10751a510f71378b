"""What a party has shown is kept beside the checkpoints, ahead of what is used, and is damaged loudly."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from protocols.core.distance import Distance
from protocols.core.errors import BudgetSpent
from secure_hfl.checkpoints.resume_count import MAX_RESUMES_IN_ALL
from secure_hfl.checkpoints.spent_distance import SpentDistance
from secure_hfl.checkpoints.task_checkpoints import TaskCheckpoints
from secure_hfl.errors import CheckpointRefused

HALF = Distance(2.0**-81)


def test_what_is_spent_stays_spent_when_the_process_ends_without_a_word(tmp_path: Path) -> None:
    SpentDistance(tmp_path).budget("bank", "host").spend(HALF)
    again = SpentDistance(tmp_path).budget("bank", "host")
    assert HALF.squares <= again.spent.squares < 1.01 * HALF.squares
    with pytest.raises(BudgetSpent, match="bank's layer at the host"):
        again.spend(HALF)


def test_what_two_threads_spend_at_once_counts_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in scheme "masked": triples are made beside training, whose tests of shares spend too."""
    one = Distance(2.0**-84)
    kept, others = SpentDistance(tmp_path), list[threading.Thread]()
    budget, keep = kept.budget("bank", "host"), kept._keep

    def another_spends_meanwhile(feature_key: str, mark: Distance) -> None:
        keep(feature_key, mark)
        if not others:
            others.append(threading.Thread(target=budget.spend, args=(one,)))
            others[0].start()
            others[0].join(0.1)

    monkeypatch.setattr(kept, "_keep", another_spends_meanwhile)
    budget.spend(one)
    others[0].join()
    assert budget.spent == one + one


def test_layers_of_one_task_have_a_budget_each(tmp_path: Path) -> None:
    kept = SpentDistance(tmp_path)
    kept.budget("bank", "host").spend(HALF)
    kept.budget("shop", "host").spend(Distance(2.0**-90))
    assert kept.budget("bank", "host").spent.squares > kept.budget("shop", "host").spent.squares > 0


def test_only_a_task_that_begins_or_is_over_forgets(tmp_path: Path) -> None:
    checkpoints = TaskCheckpoints(tmp_path, {"task": "one"})
    checkpoints.spent.budget("bank", "host").spend(HALF)
    checkpoints.begin(b"", is_resuming=True)
    assert checkpoints.spent.budget("bank", "host").spent.squares >= HALF.squares
    checkpoints.begin(b"", is_resuming=False)
    assert checkpoints.spent.budget("bank", "host").spent == Distance()


@pytest.mark.parametrize("product", [Distance(2.0**-110), Distance(2.0**-110, 2.0**-95)], ids=["bfv", "paillier"])
def test_resumes_that_show_next_to_nothing_cost_half_of_the_square(tmp_path: Path, product: Distance) -> None:
    for _ in range(MAX_RESUMES_IN_ALL):
        SpentDistance(tmp_path).budget("bank", "host").spend(product)
    spent = SpentDistance(tmp_path).budget("bank", "host").spent
    assert Distance(1.98 * spent.squares, spent.linear).fits


@pytest.mark.parametrize("text", ["", "{", '{"bank": 1}', '{"bank": {"squares": -1, "linear": 0}}', '{"bank": {}}'])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "spent.json").write_text(text)
    with pytest.raises(CheckpointRefused, match=r"spent\.json among the checkpoints is damaged"):
        SpentDistance(tmp_path).budget("bank", "host")
