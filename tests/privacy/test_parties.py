"""`gradient_noise` in a task between real processes, and what the scheduler refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case
from secure_hfl import GaussianNoise
from secure_hfl.errors import ConfigurationError

SCRIPT = str(Path(__file__).parent / "noisy_party.py")


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    """A Host, a collaborator with a trained bottom model, and one with a frozen one."""
    made = Parties(tmp_path, 3)
    yield made
    made.stop()


def test_a_task_with_noise(parties: Parties) -> None:
    task = parties.new_task()
    frozen = Case(arguments={"is_feature_trainable": False})
    cases = {"party2": frozen}
    running = {name: parties.start(name, SCRIPT, "--seed", "3", case=cases.get(name)) for name in parties.names}
    ended = {name: party.ended() for name, party in running.items()}
    assert [party.code for party in ended.values()] == [0, 0, 0], ended
    _, models = tiny.train_in_one_process(3, 2, frozen=(2,))
    differences = []
    for index, name in enumerate(parties.names[1:], start=1):
        results = parties.homes[name] / "tasks" / task / "results"
        (path,) = results.glob("feature_model*.safetensors")
        trained, expected = load_file(path), models[index].state_dict()
        differences.append(max(float((trained[key] - expected[key]).abs().max()) for key in expected))
    assert differences[0] > 1e-3, "the trained bottom model was trained on noise as well"
    assert differences[1] == 0, "the frozen one is as it began"


@pytest.mark.parametrize("value", [GaussianNoise, "marvell", 1.0])
def test_what_is_no_noise_is_refused(value: Any) -> None:
    scheduler = tiny.make({"arguments": {"gradient_noise": value}})
    with pytest.raises(ConfigurationError, match="gradient_noise must be GaussianNoise"):
        scheduler.validate_context()


def test_noise_is_accepted_and_nothing_is_the_default() -> None:
    noise = GaussianNoise(0.1, 1.0)
    accepted = tiny.make({"arguments": {"gradient_noise": noise}})
    accepted.validate_context()
    assert isinstance(accepted, tiny.TinyHost)
    assert accepted.gradient_noise is noise
    plain = tiny.make({})
    assert isinstance(plain, tiny.TinyHost)
    assert plain.gradient_noise is None
