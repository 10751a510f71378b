"""The auditor counts what messages show under noise from the files alone, and comes to what the parties counted."""

from __future__ import annotations

import pytest

from protocols.core import distance
from protocols.core.distance import NOTHING, RUN_BITS
from protocols.transcript.errors import Severity
from tests.protocols.transcript.recorded_runs import check
from tests.protocols.whole_task import C, Case, H, Task


@pytest.mark.parametrize("scheme", ["bfv", "paillier", "masked"])
@pytest.mark.parametrize("trainable", [True, False], ids=["trained", "frozen"])
def test_both_come_to_the_same(scheme: str, trainable: bool) -> None:
    """In memory both sides of a layer share one budget, so what it holds is the sum of both."""
    task = Task(Case(scheme=scheme, trainable=trainable)).run()
    for file in (task.wire.files[H], task.wire.files[C]):
        shown = check(file).shown
        together = shown["host"] + shown["collaborator"]
        assert together.squares == pytest.approx(task.lines[0].spec.budget.spent.squares)
        assert together.linear == pytest.approx(task.lines[0].spec.budget.spent.linear)
        assert NOTHING.bits > min(shown["host"].bits, shown["collaborator"].bits) > RUN_BITS


def test_a_scheme_without_noise_has_nothing_to_count() -> None:
    assert check(Task(Case(scheme="plain")).run().wire.files[H]).shown == {}


def test_a_run_that_shows_too_much_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Task(Case(scheme="bfv")).run().wire.files[H]
    assert check(file).holds
    monkeypatch.setattr(distance, "RUN_BITS", 90)
    report = check(file)
    found = [finding for finding in report.findings if finding.kind == "ShownTooMuch"]
    assert {finding.severity for finding in found} == {Severity.ERROR}
    assert "what the host sent has a statistical distance of 2^-" in found[0].problem
    assert not report.holds
