"""The examples between real processes, beside the same networks in one process.

Four processes run every task one after another. What is compared: losses of one seed, and the figures of the test set
with those of other seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from types import ModuleType
from typing import Any

import pytest
from safetensors.numpy import load_file

from benchmarks.harness.limits import START
from benchmarks.harness.parties import Parties
from benchmarks.harness.ports import free_ports
from secure_hfl.examples import catalogue
from secure_hfl.examples.breast_cancer import columns
from secure_hfl.examples.digits import strips
from secure_hfl.tasks import create_task, join_task
from tests.examples import central

PARTY = Path(__file__).with_name("party.py")
ROUNDS = {"breast_cancer": 3, "digits": 1}
SEED, OTHER_SEEDS = 7, range(100, 112)
TASKS: dict[str, ModuleType] = {"breast_cancer": columns, "digits": strips}
# Those of four parties come first: a party waits only so long for one that is still busy with another task.
RUNS = [("digits", "masked"), ("breast_cancer", "plain"), ("breast_cancer", "bfv")]

EXAMPLE = 60.0
"""Quiet seconds of one example."""

NOISES = range(4)
PLAIN_BOUND = 1e-6
"""Sums in another order."""


class Runs:
    """All tasks after the run."""

    def __init__(self, parties: Parties) -> None:
        self.parties = parties
        self.tasks = {run: self._new_task(*run, port) for run, port in zip(RUNS, free_ports(len(RUNS)))}

    def _new_task(self, name: str, scheme: str, port: int) -> str:
        example = catalogue.find(name)
        parties, (host, *others) = self.parties, self.parties.names[: example.parties]
        pems = {
            script.name or other: parties.identities[other].certificate_pem
            for other, script in zip(others, example.collaborators, strict=True)
        }
        address = f"127.0.0.1:{port}"
        record, invite = create_task(parties.store(host), parties.identities[host], name, address, scheme, pems, host)
        for other in others:
            join_task(parties.store(other), parties.identities[other], invite, scheme)
        return record.task_id

    def plan(self, index: int) -> list[dict[str, Any]]:
        """What a party's process runs."""
        rows = []
        for (name, _), task in self.tasks.items():
            example = catalogue.find(name)
            if index < example.parties:
                script = (example.host, *example.collaborators)[index]
                row = {"task": task, "script": str(script.path), "environment": dict(script.environment)}
                options = {"seed": SEED} if index else {"seed": SEED, "rounds": ROUNDS[name]}
                rows.append({**row, "role": "collaborator" if index else "host", "options": options})
        return rows

    def results(self, run: tuple[str, str], party: str = "party0") -> Path:
        """Where a party's results are."""
        return self.parties.homes[party] / "tasks" / self.tasks[run] / "results"

    def metrics(self, run: tuple[str, str]) -> dict[str, Any]:
        """The host's metrics.json."""
        values: dict[str, Any] = json.loads((self.results(run) / "metrics.json").read_text())
        return values


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs everything."""
    parties = Parties(tmp_path_factory.mktemp("examples"), 4)
    runs = Runs(parties)
    try:
        running = {
            name: parties.start(
                name, str(PARTY), environment={"EXAMPLE_RUNS": json.dumps(runs.plan(index))}, with_python=True
            )
            for index, name in enumerate(parties.names)
        }
        for name, party in running.items():
            end = party.ended(START + len(RUNS) * EXAMPLE)
            assert end.code == 0, f"{name}: {end.err}"
        yield runs
    finally:
        parties.stop()


@pytest.fixture(scope="module")
def in_one_process() -> dict[str, central.Trained]:
    """The same training without any protocol, from the same seed."""
    return {name: central.train(task, ROUNDS[name], SEED) for name, task in TASKS.items()}


@pytest.fixture(scope="module")
def spread() -> dict[str, list[dict[str, float]]]:
    """The figures that other seeds reach in one process."""
    return {
        name: [central.train(task, ROUNDS[name], seed).figures for seed in OTHER_SEEDS] for name, task in TASKS.items()
    }


def largest_difference(one: list[float], other: list[float]) -> float:
    """Of two runs' losses, batch by batch."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("run", RUNS, ids=", ".join)
def test_losses_are_those_of_one_process(
    runs: Runs, in_one_process: dict[str, central.Trained], run: tuple[str, str]
) -> None:
    name, expected = run[0], in_one_process[run[0]].losses
    assert len(expected) == ROUNDS[name] * catalogue.find(name).batches
    difference = largest_difference(runs.metrics(run)["batch_losses"], expected)
    if run[1] == "plain":
        assert difference < PLAIN_BOUND
        return
    # What the smoothing noise does to these losses is seen in one process, with other draws of it.
    noisy = [central.train(TASKS[name], ROUNDS[name], SEED, noise=noise).losses for noise in NOISES]
    assert PLAIN_BOUND < difference < 3 * max(largest_difference(losses, expected) for losses in noisy)


@pytest.mark.parametrize("run", RUNS, ids=", ".join)
def test_figures_are_those_of_other_seeds(
    runs: Runs, spread: dict[str, list[dict[str, float]]], run: tuple[str, str]
) -> None:
    # Three deviations below the mean of other seeds is unlikely by chance, and above what the host reaches alone.
    task = TASKS[run[0]]
    alone = central.train(task, ROUNDS[run[0]], SEED, missing=task.PARTIES[1:]).figures
    scalars = runs.metrics(run)["scalars"]
    assert set(scalars) == {f"test_results/{name}" for name in catalogue.find(run[0]).figures}
    for name, without in alone.items():
        others = [figures[name] for figures in spread[run[0]]]
        floor = mean(others) - 3 * stdev(others)
        steps, values = zip(*scalars[f"test_results/{name}"])
        assert steps == tuple(range(1, ROUNDS[run[0]] + 1))
        assert values[-1] >= floor > without


@pytest.mark.parametrize("run", RUNS, ids=", ".join)
def test_only_what_all_hold_is_trained_on(runs: Runs, run: tuple[str, str]) -> None:
    example, psi = catalogue.find(run[0]), runs.metrics(run)["psi"]
    others = [psi["collaborator_ids"][party] for party in TASKS[run[0]].PARTIES[1:]]
    assert (psi["host_ids"], *others) == example.local_ids
    assert psi["intersection"] == example.train_ids + example.test_ids < min(example.local_ids)


@pytest.mark.parametrize("run", RUNS, ids=", ".join)
def test_the_projection_is_narrower_than_the_features(runs: Runs, run: tuple[str, str]) -> None:
    task, part = TASKS[run[0]], "weight" if run[1] == "plain" else "share"
    for party, width_out in task.PROJECTION.items():
        shape = load_file(runs.results(run) / f"projection.{party}.safetensors")[part].shape
        width_in = task.FEATURES[party] if run[0] == "breast_cancer" else task.FEATURES
        assert shape == (width_out, width_in)
        assert width_out < width_in
