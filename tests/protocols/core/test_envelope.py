"""The header of every message."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.core.envelope import MAX_ROUND, MAX_SEQUENCE, Envelope, Phase
from protocols.core.errors import InvalidInput
from protocols.task.rounds import TaskFinished

MESSAGE = TaskFinished(1)


@pytest.mark.parametrize("phase", list(Phase))
def test_extremes(phase: Phase) -> None:
    for values in ((0, 0, 0), (MAX_SEQUENCE, MAX_ROUND, MAX_ROUND)):
        envelope = Envelope(values[0], phase, values[1], values[2], MESSAGE)
        assert (envelope.sequence, envelope.round, envelope.batch) == values


@pytest.mark.parametrize("field", ["sequence", "round", "batch"])
@pytest.mark.parametrize("value", [-1, MAX_SEQUENCE + 1, True, 1.0, "1", None])
def test_numbers_out_of_range(field: str, value: Any) -> None:
    values: dict[str, Any] = {"sequence": 0, "phase": Phase.TRAIN, "round": 0, "batch": 0, "message": MESSAGE}
    with pytest.raises(InvalidInput, match=field):
        Envelope(**{**values, field: value})


@pytest.mark.parametrize("phase", [0, 99, 5, "TRAIN", None])
def test_phase(phase: Any) -> None:
    with pytest.raises(InvalidInput, match="phase"):
        Envelope(0, phase, 0, 0, MESSAGE)


def test_phases_are_wire_constants() -> None:
    assert {phase.name: phase.value for phase in Phase} == {
        "JOIN": 1,
        "PSI": 2,
        "ALIGN": 3,
        "SETUP": 4,
        "TRAIN": 5,
        "TEST": 6,
        "FINISH": 7,
        "OFFLINE": 8,
    }
