"""What a party allows is refused in a whole conversation: both parties end, told which policy, before what it protects.

What is known beforehand is refused while the parties agree, so nothing of PSI is said. How many ids are asked about or
are in common, and rows of a batch, are known only when they have been counted: before any point of an id that is asked
about, or any feature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from protocols.core.envelope import Phase
from protocols.task.abort import Abort
from protocols.task.terms import RunLimits
from secure_hfl.errors import TaskFailed
from secure_hfl.prediction.budget import COUNTS, PredictionBudget
from secure_hfl.run_options import RunOptions
from secure_hfl.transport.channel import Channel
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions, trained

AGREEMENT = {"Hello", "Manifest", "ManifestAccepted", "Checkpoint", "Countersignature"}
PSI = AGREEMENT | {"PsiOpen", "PsiPoints", "PsiDigests"}
BEFORE_FEATURES = PSI | {"PsiResult", "SplitDigest"}


class Refusal(NamedTuple):
    """A policy that the run breaks.

    Attributes:
        limits: what the collaborator allows; None: it is the host that lets nobody train.
        said: to both parties.
        crossed: what may have been said until then, and nothing else.
    """

    limits: RunLimits | None
    said: str
    crossed: set[str]


POLICIES = {
    "may_train": Refusal(None, "may_train: party1 wants to train its bottom model", AGREEMENT),
    "width": Refusal(RunLimits(width=2), "projection width: {} allows at most 2, the host asks for 3", AGREEMENT),
    "rounds": Refusal(RunLimits(rounds=1), "rounds: {} allows at most 1, the host asks for 2", AGREEMENT),
    "projection_lr": Refusal(RunLimits(projection_lr=0.01), "projection_lr: {} allows at most 0.01, the", AGREEMENT),
    "least_others": Refusal(
        RunLimits(least_others=1), "fusion: {} lets its projections reach the host only", AGREEMENT
    ),
    "ids": Refusal(RunLimits(ids=95), "ids: the parties have 96 samples in common, and party1", PSI),
    "rows": Refusal(RunLimits(rows=31), "rows: party1 allows batches of at most 31 samples", BEFORE_FEATURES),
}
ASKED = {
    "predictions": Refusal(
        RunLimits(predictions=1),
        "predictions: party1 allows 1 of each sample over all sessions, and 1",
        BEFORE_FEATURES,
    ),
    "asked_a_day": Refusal(
        RunLimits(asked_a_day=3), "asked_a_day: party1 lets a host ask about 3 ids in a day, 2", AGREEMENT | {"PsiOpen"}
    ),
}


def watched(channel: Channel, crossed: set[str]) -> Channel:
    """The same; it writes down what crosses, but for how it ends."""

    def see(_: object, envelope: Any, data: object) -> None:
        if not isinstance(envelope.message, Abort):
            crossed.add(type(envelope.message).__name__)

    channel.observers.append(see)
    return channel


class WatchedParties(MemoryParties):
    """Both parties of a task, and what the collaborator sent and received."""

    def _connect(self, seconds: float) -> Channel:
        self.crossed = set[str]()
        return watched(super()._connect(seconds), self.crossed)


class WatchedSessions(Sessions):
    """The same of predictions."""

    def _connect(self, seconds: float) -> Channel:
        self.crossed = set[str]()
        return watched(super()._connect(seconds), self.crossed)


def parties_of(directory: Path, policy: Refusal) -> WatchedParties:
    """Both parties of a task that breaks a policy."""
    parties = WatchedParties(directory, "bfv", RunOptions(rounds=2))
    host, collaborator = (parties.schedulers[name] for name in (HOST, COLLABORATOR))
    host.projection, host.projection_lr, collaborator.run_limits = 3, 0.5, policy.limits
    host.may_train = [] if policy.limits is None else None
    return parties


def phases_in_transcripts(parties: MemoryParties) -> set[int]:
    """Of which phases both transcripts have messages other than how it ended."""
    files = [
        path for name in (HOST, COLLABORATOR) for path in parties.runs[name].bench.assignment.transcripts.iterdir()
    ]
    lines = [line.split(" ") for path in files for line in path.read_text().splitlines()]
    return {int(fields[4]) for fields in lines if fields[0] == "e" and fields[3] != "Abort"}


@pytest.mark.parametrize("name", POLICIES)
def test_a_task_that_breaks_a_policy_ends_at_both_before_what_it_protects(name: str, tmp_path: Path) -> None:
    policy = POLICIES[name]
    parties = parties_of(tmp_path, policy)
    parties.execute()
    for party in (HOST, COLLABORATOR):
        assert policy.said.format(COLLABORATOR) in str(parties.errors[party])
    assert parties.crossed <= policy.crossed
    assert not parties.metrics(HOST).batch_losses
    assert parties.crossed
    assert (Phase.PSI in phases_in_transcripts(parties)) is (policy.crossed is not AGREEMENT)


OWN = {name: policy for name, policy in POLICIES.items() if name not in ("may_train", "rows")}
"""Those that a host looks at too. (The host's own policy, and rows, are looked at by whom they protect alone.)"""


@pytest.mark.parametrize("name", OWN)
def test_a_collaborator_refuses_what_a_host_asks_for_against_its_word(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that does not look at what it was told, and signs a manifest that goes beyond it."""
    policy, calls = OWN[name], list[str]()
    parties = parties_of(tmp_path, policy)

    def without_the_host(check: Any) -> Any:
        def by_the_collaborator(self: RunLimits, who: str, *values: Any) -> None:
            calls.append(who)
            if who == "this side" or (name == "ids" and len(calls) > 1):
                check(self, who, *values)

        return by_the_collaborator

    method = {"least_others": "check_others", "ids": "check_ids"}.get(name, "check")
    monkeypatch.setattr(RunLimits, method, without_the_host(getattr(RunLimits, method)))
    parties.execute()
    assert len(calls) == 2
    for party in (HOST, COLLABORATOR):
        assert policy.said.format("this side") in str(parties.errors[party])
    assert parties.crossed <= policy.crossed | ({"PsiResult"} if name == "ids" else set())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> MemoryParties:
    """After a task of one round."""
    return trained(tmp_path_factory.mktemp("trained"), "plain")


@pytest.mark.parametrize("name", ASKED)
def test_a_prediction_that_breaks_a_policy_ends_at_both_before_what_it_protects(
    name: str, finished: MemoryParties, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    policy = ASKED[name]
    counts = finished.runs[COLLABORATOR].bench.assignment.directory / "predictions" / COUNTS
    counts.unlink(missing_ok=True)
    monkeypatch.setattr(finished.schedulers[COLLABORATOR], "run_limits", policy.limits)
    assert len(Sessions(finished).predict(["100", "101"]).at) == 2
    sessions = WatchedSessions(finished)
    with pytest.raises(TaskFailed, match=policy.said):
        sessions.predict(["100", "102"])
    assert policy.said in caplog.text
    assert sessions.crossed <= policy.crossed
    assert PredictionBudget(counts, COLLABORATOR, RunLimits()).times("102") == 0
