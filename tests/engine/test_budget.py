"""What a whole run may show: a declared run that is too long does not start, and a run that has shown it stops.

The bound is made narrow here instead of the run long.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from protocols.core import distance
from protocols.core.distance import Distance, DistanceBudget
from protocols.layer import run_distance
from secure_hfl.checkpoints.spent_distance import SpentDistance
from secure_hfl.run_options import RunOptions
from tests.engine.memory_channel import cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

PARTIES = (HOST, COLLABORATOR)


def narrow(monkeypatch: pytest.MonkeyPatch, bits: float) -> None:
    """A run may have a distance of 2^-bits."""
    monkeypatch.setattr(distance, "RUN_BITS", bits)
    monkeypatch.setattr(run_distance, "RUN_BITS", bits)


def spent_by(parties: MemoryParties, name: str) -> float:
    """What a party had written down when it stopped, as -log2."""
    directory = parties.runs[name].bench.assignment.directory / "checkpoints"
    (layer,) = json.loads((directory / "spent.json").read_text()).values()
    return -math.log2(layer["squares"]) / 2


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_a_declared_run_that_is_too_long_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Both parties have the numbers; neither has trained anything."""
    narrow(monkeypatch, 300)
    parties = MemoryParties(tmp_path, scheme=scheme, options=RunOptions(rounds=2))
    parties.execute()
    details = [str(parties.errors[name]) for name in PARTIES]
    assert all("setting up" in detail and "InvalidInput" in detail for detail in details)
    assert any("the declared run of 6 batches would show" in each and "Lower max_rounds" in each for each in details)
    assert not any(parties.metrics(name).rounds for name in PARTIES)


def test_a_run_that_declares_no_rounds_stops_when_it_has_shown_all_and_keeps_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny task shows 2^-52.1; with a bound of 2^-53 it stops on the way."""
    narrow(monkeypatch, 53)
    undeclared = {"arguments": {"max_rounds": 0}, "finish_after": 2}
    parties = MemoryParties(tmp_path, scheme="bfv", cases={HOST: undeclared})
    parties.execute()
    assert f"{COLLABORATOR} stopped in training round" in str(parties.errors[HOST])
    assert "BudgetSpent" in str(parties.errors[HOST])
    assert "2^-53 is the most" in str(parties.errors[COLLABORATOR])
    assert 52.9 < spent_by(parties, COLLABORATOR) < 54
    directory = parties.runs[COLLABORATOR].bench.assignment.directory / "checkpoints"
    assert list(directory.glob("checkpoint-*"))


def test_after_an_interruption_what_was_shown_stays_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At both parties the second conversation begins with what the first one has shown."""
    opened: dict[str, list[Distance]] = {}
    original = SpentDistance.budget

    def budget(self: SpentDistance, feature_key: str, role: str) -> DistanceBudget:
        made = original(self, feature_key, role)
        opened.setdefault(role, []).append(made.spent)
        return made

    monkeypatch.setattr(SpentDistance, "budget", budget)
    parties = MemoryParties(tmp_path, scheme="bfv", options=RunOptions(checkpoint_every=1))
    cuts = [1]

    def react(event: str, values: dict[str, Any]) -> None:
        if event == "batch" and values["round"] == 2 and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    parties.heard[HOST].react = react
    parties.execute()
    assert not parties.errors
    for role in ("host", "collaborator"):
        before, after = opened[role]
        assert before.squares == 0
        assert 2.0**-120 < after.squares < 2.0**-80
