"""In a sum, a row that changes at one collaborator only shows that collaborator's change by itself.

The others' rows, and their noise, are the same to the bit, so they fall out of the difference of two predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from protocols.he.interface import as_signed
from protocols.layer.parameters import WEIGHT_BITS
from tests.protocols.lookup.online_task import Online
from tests.protocols.lookup.test_online import saved
from tests.protocols.task_line import Line
from tests.protocols.whole_task import Case


class Changing(Online):
    """Whose first collaborator's data may change."""

    factor = 1.0

    def rows(self, line: Line, ids: Sequence[str]) -> Any:
        found = super().rows(line, ids)
        return (found * np.float32(self.factor)).astype(np.float32) if line is self.lines[0] else found


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_the_difference_of_two_sums_is_of_who_has_changed_alone(scheme: str) -> None:
    case = Case(scheme, names=("patient", "shop"), is_summed=True)
    run = Changing(case, saved(case)).begin()
    run.start()
    found = run.find(["id3", "id7"])
    before = run.sum_of(["id3", "id7"], found)
    run.factor = 0.5
    after = run.sum_of(["id3", "id7"], found)
    line = run.lines[0]
    weights = as_signed(line.host._share.values + line.collaborator._share.values) / 2.0**WEIGHT_BITS
    change = run.rows(line, ["id3", "id7"]) @ weights.T  # half of the row went, half is left
    assert np.abs((before - after) - change).max() < 0.05 * np.abs(change).max()
    run.end()
    run.finish()
