"""Training goes on after a fault and ends as if there had been none. `benchmarks/faults.py` tries hundreds."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from benchmarks.harness.faults.harness import Faults, FaultyRun, Outcome, run_faulty
from benchmarks.harness.faults.kill_points import KillPoint
from benchmarks.harness.faults.proxy import Break, Kind, Way
from benchmarks.harness.limits import seconds


def impatient() -> dict[str, dict[str, float]]:
    """Parties that do not wait long for one that is lost."""
    return {name: {"schedule_timeout": seconds(3)} for name in ("party0", "party1")}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Outcome]:
    """An uninterrupted run; made once."""

    @cache
    def get(scheme: str = "plain", parties: int = 2) -> Outcome:
        outcome = run_faulty(tmp_path_factory.mktemp("reference"), scheme, parties=parties)
        assert outcome.survived, outcome.errors
        return outcome

    return get


def newest_checkpoint(task: Path) -> Path:
    """A party's last one."""
    return max((task / "checkpoints").glob("checkpoint-*.bin"), key=lambda path: path.stat().st_mtime_ns)


def went_on(outcome: Outcome, reference: Outcome) -> None:
    """As if nothing had happened, without computing the intersection again."""
    assert outcome.problems(reference, psi_runs=1) == []
    assert outcome.resumes >= 1
    assert len(outcome.recovery_seconds) >= outcome.resumes


@pytest.mark.parametrize(
    ("scheme", "killed", "point"),
    [
        ("plain", "party0", KillPoint("train_a_batch", nth=6)),
        ("plain", "party1", KillPoint("received", nth=3, type="PlainGradient")),
        ("plain", "party0", KillPoint("replace", nth=4)),
        ("plain", "party0", KillPoint("received", type="Checkpoint", phase="TEST")),
        ("plain", "party1", KillPoint("sent", nth=2, type="BatchOpen", phase="TEST")),
        ("plain", "party0", KillPoint("train_a_batch", nth=4, victims=("party0", "party1"))),
        ("plain", "party0", KillPoint("train_a_batch", nth=3, signal=signal.SIGTERM)),
        ("bfv", "party1", KillPoint("received", nth=3, type="StepGradient")),
    ],
    ids=str,
)
def test_a_killed_party_comes_back(
    tmp_path: Path, reference: Callable[..., Outcome], scheme: str, killed: str, point: KillPoint
) -> None:
    outcome = run_faulty(tmp_path, scheme, Faults(kills={killed: [point]}))
    went_on(outcome, reference(scheme))


@pytest.mark.parametrize("killed", ["party0", "party1"])
def test_a_kill_when_only_one_has_the_first_checkpoint(
    tmp_path: Path, reference: Callable[..., Outcome], killed: str
) -> None:
    faults = Faults(kills={killed: [KillPoint("arrived", type="Countersignature", phase="PSI")]})
    assert run_faulty(tmp_path, "plain", faults).problems(reference(), psi_runs=2) == []


@pytest.mark.parametrize("scheme", ["plain", "masked"])
def test_a_connection_breaks_twice(tmp_path: Path, reference: Callable[..., Outcome], scheme: str) -> None:
    size = reference(scheme).bytes["party1"]
    breaks = [Break(Kind.RST, size[Way.UP] * 7 // 10, Way.UP), Break(Kind.FIN, size[Way.DOWN] * 12 // 10, Way.DOWN)]
    went_on(run_faulty(tmp_path, scheme, Faults(breaks={"party1": breaks})), reference(scheme))


def test_a_kill_during_recovery(tmp_path: Path, reference: Callable[..., Outcome]) -> None:
    points = [KillPoint("iterate_train_feature", nth=4), KillPoint("received", type="Manifest")]
    went_on(run_faulty(tmp_path, "plain", Faults(kills={"party1": points})), reference())


def test_one_of_three_parties_is_killed(tmp_path: Path, reference: Callable[..., Outcome]) -> None:
    faults = Faults(kills={"party2": [KillPoint("received", nth=5, type="PlainGradient")]})
    went_on(run_faulty(tmp_path, "plain", faults, parties=3), reference(parties=3))


@pytest.mark.parametrize("how", ["flipped", "cut off"])
def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, reference: Callable[..., Outcome], how: str) -> None:
    def tear(task: Path) -> None:
        newest = newest_checkpoint(task)
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes(data if how == "flipped" else data[: len(data) // 2])

    faults = Faults(kills={"party1": [KillPoint("iterate_train_feature", nth=7)]}, while_down=tear)
    outcome = run_faulty(tmp_path, "plain", faults)
    went_on(outcome, reference())
    assert re.search(r"A checkpoint cannot be used: \S*checkpoint-\d+\.bin is torn", outcome.logs["party1"])


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path, reference: Callable[..., Outcome]) -> None:
    point = KillPoint("iterate_train_feature", nth=7)
    other = FaultyRun(
        tmp_path / "other",
        "plain",
        Faults(kills={"party1": [point]}, never=frozenset({"party1"})),
        arguments=impatient(),
    )
    other.finish()

    def put_in(task: Path) -> None:
        shutil.copy(newest_checkpoint(other.directories["party1"]), newest_checkpoint(task))

    outcome = run_faulty(tmp_path / "own", "plain", Faults(kills={"party1": [point]}, while_down=put_in))
    went_on(outcome, reference())
    assert re.search(f"A checkpoint cannot be used: .* is foreign: its task is {other.task}", outcome.logs["party1"])


def test_who_forgets_to_resume_loses_nothing(tmp_path: Path, reference: Callable[..., Outcome]) -> None:
    faults = Faults(
        kills={"party1": [KillPoint("iterate_train_feature", nth=6)]}, anew=frozenset({"party1"}), start_all_again=True
    )
    outcome = run_faulty(tmp_path, "plain", faults)
    assert outcome.problems(reference(), psi_runs=1) == []
    forgetful = outcome.starts["party1"][1]
    assert forgetful.code == 1
    assert "--resume" in forgetful.errors[0]


def test_a_host_that_never_comes_back(tmp_path: Path) -> None:
    faults = Faults(kills={"party0": [KillPoint("train_a_batch", nth=3)]}, never=frozenset({"party0"}))
    outcome = run_faulty(tmp_path, "plain", faults, arguments=impatient())
    (left,) = outcome.starts["party1"]
    assert left.code == 1
    assert len(left.errors) == 1
    assert "party0" in left.errors[0]
