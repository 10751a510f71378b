"""Terms of a run: the stricter of script and task counts; what goes beyond is refused before an id or feature moves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocols.core.errors import WrongSession
from protocols.core.randomness import OsRandomness
from protocols.task.terms import Declared, RunLimits
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.engine.terms import (
    check_before_waiting,
    check_plan,
    check_sum,
    declared_by,
    is_summed,
    limits_of,
    trainers,
)
from secure_hfl.errors import ConfigurationError, TaskFailed
from secure_hfl.identity import Identity
from secure_hfl.limits import OperatorLimits
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import load_scheme
from secure_hfl.tasks import AcceptedLimits, PlannedTerms
from secure_hfl.transcript import Transcript
from tests.audit.helpers import PLAIN, forged
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.protocols.transcript.recorded_runs import transcripts
from tests.vectors.verify_transcript import verify


def assignment(
    terms: PlannedTerms | None = None,
    limits: AcceptedLimits | None = None,
    names: tuple[str, ...] = ("bank", "shop"),
    **options: Any,
) -> Any:
    record = SimpleNamespace(name="digits", terms=terms or PlannedTerms(), limits=limits or AcceptedLimits())
    record.collaborators = [SimpleNamespace(name=name) for name in names]
    said = SimpleNamespace(**{"rounds": None, "batches": None, "seed": None, "projection": None, **options})
    scheme = load_scheme("bfv")
    return SimpleNamespace(record=record, options=said, party="host", scheme=scheme, limits=OperatorLimits())


def host(**changes: Any) -> Any:
    values = {"max_rounds": 5, "projection_lr": 0.1, "decides_when_finished": False, "label_privacy": None}
    return SimpleNamespace(**{**values, "may_train": None, "projection": None, "fusion": "separate", **changes})


@pytest.mark.parametrize(
    ("script", "task", "declared"),
    [
        ({}, assignment(), Declared(5, 0, 0.1)),
        ({}, assignment(rounds=2), Declared(2, 0, 0.1)),
        ({}, assignment(batches=7), Declared(5, 7, 0.1)),
        ({"decides_when_finished": True}, assignment(PlannedTerms(max_rounds=7)), Declared(5, 0, 0.1)),
        ({"decides_when_finished": True, "max_rounds": 0}, assignment(), Declared(0, 0, 0.1)),
        (
            {"decides_when_finished": True, "max_rounds": 0},
            assignment(PlannedTerms(max_rounds=7)),
            Declared(7, 0, 0.1),
        ),
        ({"label_privacy": SimpleNamespace(epsilon=2)}, assignment(), Declared(5, 0, 0.1, 2.0)),
        ({"label_privacy": SimpleNamespace(epsilon=2)}, assignment(seed=1), Declared(5, 0, 0.1)),
    ],
    ids=[
        "script",
        "option",
        "batches",
        "as it goes, at most",
        "as it goes",
        "as it goes within the plan",
        "epsilon",
        "no epsilon with a seed",
    ],
)
def test_what_the_host_declares(script: dict[str, Any], task: Any, declared: Declared) -> None:
    assert declared_by(host(**script), task.options, task.record.terms) == declared


@pytest.mark.parametrize(
    ("plan", "name"),
    [({"max_rounds": 4}, "max_rounds"), ({"max_width": 19}, "projection"), ({"projection_lr": 0.09}, "projection_lr")],
    ids=["rounds", "width", "rate"],
)
def test_a_host_keeps_to_the_plan_that_others_joined(plan: dict[str, Any], name: str) -> None:
    check_plan(Declared(5, 0, 0.1), [20, 0], assignment())
    with pytest.raises(ConfigurationError, match=f"^{name}: task 'digits' was created with at most "):
        check_plan(Declared(5, 0, 0.1), [20, 0], assignment(PlannedTerms(**plan)))


def test_a_plan_with_a_greatest_rate_wants_one_that_says_something() -> None:
    with pytest.raises(ConfigurationError, match=r"^projection_lr: .* at most 0.5, and 0 says nothing"):
        check_plan(Declared(5, 0, 0.0), None, assignment(PlannedTerms(projection_lr=0.5)))


BEFORE_WAITING: dict[str, tuple[dict[str, Any], Any, str]] = {
    "key": ({}, assignment(names=("host",)), "^feature_key: 'host' is a collaborator's name in task 'digits'"),
    "may_train": ({"may_train": ["lab"]}, assignment(), "^may_train names lab, and .* bank, shop$"),
    "rounds": ({}, assignment(PlannedTerms(max_rounds=4)), "^max_rounds: .* at most 4, and this run asks for 5"),
    "option": ({}, assignment(PlannedTerms(max_rounds=6), rounds=7), "at most 6, and this run asks for 7"),
    "width": ({"projection": {"shop": 9}}, assignment(PlannedTerms(max_width=8)), "^projection: .* at most 8, .* 9"),
    "stranger": ({"projection": {"lab": 9}}, assignment(), r"^projection names \['lab'\]"),
    "no layer": ({"projection": False}, assignment(), "needs the projection layer"),
    "sum": ({"fusion": "sum"}, assignment(names=("bank",)), "^fusion: a sum is of two collaborators or more"),
    "plan": ({}, assignment(PlannedTerms(fusion="sum")), "^fusion: task 'digits' was created with --fusion sum"),
    "own limit": ({"projection": 4097}, assignment(), "^projection: a layer of 4097 outputs, .* limit width is 4096"),
}


@pytest.mark.parametrize(("script", "task", "problem"), BEFORE_WAITING.values(), ids=BEFORE_WAITING)
def test_what_a_host_knows_before_anybody_has_come(script: dict[str, Any], task: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        check_before_waiting(host(**script), task)


def test_a_plan_that_fits_is_waited_with() -> None:
    script = host(projection={"bank": 4096}, may_train=["shop"])
    check_before_waiting(script, assignment(PlannedTerms(max_rounds=5, max_width=4096, projection_lr=0.1)))
    # A single collaborator may go by a key that no name tells.
    check_before_waiting(host(projection={"demo_collaborator": 4}), assignment(names=("bank",)))


def test_a_host_does_not_wait_with_a_plan_that_nobody_may_accept(tmp_path: Path) -> None:
    """Alone: with a collaborator to wait for it would be told only behind its whole schedule_timeout."""
    parties = MemoryParties(tmp_path)
    parties.schedulers[HOST].may_train = ["stranger"]
    with pytest.raises(TaskFailed, match="may_train names stranger"):
        parties.runs[HOST].execute()


def test_a_resumed_host_does_not_wait_with_another_label_privacy(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path, options=RunOptions(resume=True))
    parties.runs[HOST].bench.checkpoints.label_key.open({"epsilon": 1.0}, OsRandomness())
    with pytest.raises(TaskFailed, match="this task began with label_privacy of epsilon 1, and the script now says no"):
        parties.runs[HOST].execute()


WHO_MAY_TRAIN = {
    "nobody says": (None, None, None),
    "only the script says": ({"a", "b"}, None, {"a", "b"}),
    "only the plan says": (None, ("b", "c"), {"b", "c"}),
    "both say": (["a", "b"], ("b", "c"), {"b"}),
    "the script forbids": ((), None, set()),
    "the plan forbids": (None, (), set()),
}


# Names, not the values: the order in which a set prints is another one in every worker.
@pytest.mark.parametrize(("script", "planned", "both"), WHO_MAY_TRAIN.values(), ids=WHO_MAY_TRAIN.keys())
def test_who_may_train(script: Any, planned: Any, both: Any) -> None:
    found = trainers(host(may_train=script), assignment(PlannedTerms(may_train=planned)))
    assert found == both


def test_a_collaborator_allows_the_least_of_what_it_said() -> None:
    joined = AcceptedLimits(width=30, rounds=9, ids=50)
    planned = PlannedTerms(max_width=20, max_rounds=10, projection_lr=0.5)
    script: Any = SimpleNamespace(run_limits=RunLimits(width=25, rounds=8, rows=4))
    assert limits_of(script, assignment(planned, joined)) == RunLimits(20, 8, 0.5, 4, 50)
    script.run_limits = None
    assert limits_of(script, assignment()) == RunLimits()
    # An invite to a sum is to a sum of all; and who asks for more others than both is not overruled.
    assert limits_of(script, assignment(PlannedTerms(fusion="sum"))) == RunLimits(least_others=1)
    joined = AcceptedLimits(least_others=5)
    assert limits_of(script, assignment(PlannedTerms(fusion="sum"), joined)) == RunLimits(least_others=5)


def test_a_host_adds_what_it_was_created_to_add() -> None:
    planned = assignment(PlannedTerms(fusion="sum"))
    assert [is_summed(host(fusion=each), assignment()) for each in ("separate", "sum")] == [False, True]
    assert is_summed(host(fusion="sum"), planned)
    with pytest.raises(ConfigurationError, match=r"^fusion: task 'digits' was created with --fusion sum"):
        is_summed(host(fusion="separate"), planned)


NO_SUM = {
    "plain": (load_scheme("plain"), [3, 3], ["h", "a", "b"], "scheme 'plain' cannot add"),
    "one collaborator": (load_scheme("bfv"), [3], ["h", "a"], "two collaborators or more"),
    "other widths": (load_scheme("bfv"), [3, 0], ["h", "a", "b"], "one width, and these have 3, that of the features"),
    "a party called sum": (load_scheme("masked"), [3, 3], ["h", "a", "sum"], "a party is called 'sum'"),
}


@pytest.mark.parametrize(("scheme", "widths", "keys", "reason"), NO_SUM.values(), ids=NO_SUM.keys())
def test_where_there_can_be_no_sum(scheme: Any, widths: list[int], keys: list[str], reason: str) -> None:
    check_sum(load_scheme("paillier"), [3, 3], ["h", "a", "b"])
    with pytest.raises(ConfigurationError, match=f"^fusion: .*{reason}"):
        check_sum(scheme, widths, keys)


def test_numbers_in_common_are_counted_before_they_are_told() -> None:
    RunLimits(ids=7).check_ids("bank", 7)
    with pytest.raises(WrongSession, match="8 samples in common, and bank allows at most 7; no feature was sent"):
        RunLimits(ids=7).check_ids("bank", 8)


def resumed(directory: Path, **agreed: object) -> Transcript:
    """The second transcript of a run, whose conversation was agreed on with other terms, or with the same."""
    (directory / "patient-1.transcript").write_bytes(transcripts(PLAIN)[0])
    channel: Any = SimpleNamespace(peer="patient", observers=[], settle=lambda: None)
    identity = Identity.create("host")
    transcript = Transcript(directory, channel, "host", identity, Identity.create("patient").certificate_pem, None)
    transcript.path.write_bytes(forged(PLAIN, **agreed))
    return transcript


def test_a_resumed_run_keeps_its_terms(tmp_path: Path) -> None:
    same = {"session_tag": "ab" * 32, "manifest_digest": "cd" * 32}
    resumed(tmp_path, **same).check_terms_kept()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"max_rounds": 7}, r"another max_rounds \(0 before, 7 now\). Resume with the same options"),
        ({"label_epsilon": 2.0}, r"another label_epsilon \(0.0 before, 2.0 now\)"),
        ({"width_limit": 5}, "another width_limit"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_resumed_run_on_other_terms_is_refused(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    with pytest.raises(WrongSession, match=problem):
        resumed(tmp_path, **change).check_terms_kept()


def test_a_first_conversation_has_nothing_to_keep(tmp_path: Path) -> None:
    transcript = resumed(tmp_path, max_rounds=7)
    (tmp_path / "patient-1.transcript").write_bytes(b"")
    transcript.check_terms_kept()


def test_an_audit_after_a_refused_attempt_to_resume_says_so_and_judges_the_run(tmp_path: Path) -> None:
    """Before, one refused attempt made the audit of the whole run fail, at both parties."""
    parties = MemoryParties(tmp_path, options=RunOptions(rounds=2))
    train = parties.schedulers[HOST].train_a_batch
    calls: list[None] = []

    def fails_once(*values: Any) -> None:
        calls.append(None)
        if len(calls) == 3:
            raise ValueError("once")
        train(*values)

    parties.schedulers[HOST].train_a_batch = fails_once
    parties.execute()
    for rounds, is_refused in ((3, True), (2, False)):
        parties.begin(RunOptions(rounds=rounds, resume=True))
        parties.execute()
        assert bool(parties.errors) is is_refused, parties.errors
    host, other = (
        sorted(parties.runs[name].bench.assignment.transcripts.iterdir())[-1] for name in (HOST, COLLABORATOR)
    )
    audited = audit_files(host, other)
    assert audited.verdict is Verdict.HOLDS, audited.report.findings
    said = [finding.problem for finding in audited.report.findings]
    refused = "an attempt to go on under other terms than in party1-1.transcript (max rounds), which was refused"
    assert refused in said
    ends = [parties.runs[name].bench.assignment.transcripts for name in (HOST, COLLABORATOR)]
    verify(*([path.read_bytes() for path in sorted(end.iterdir())] for end in ends))


def test_a_host_that_decides_as_it_goes_ends_with_the_last_round_that_was_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parties = MemoryParties(tmp_path)
    host = parties.schedulers[HOST]
    assert host.max_rounds
    monkeypatch.setattr(host, "max_rounds", 2)
    monkeypatch.setattr(type(host), "is_task_finished", lambda self: False)
    assert host.decides_when_finished
    parties.execute()
    assert not parties.errors, parties.errors
    assert parties.runs[HOST].bench.state.manifest.max_rounds == 2
    assert [each.round for each in parties.metrics(HOST).rounds] == [1, 2]
    assert "ends behind round 2, the last that was agreed on, although is_task_finished says no" in caplog.text
