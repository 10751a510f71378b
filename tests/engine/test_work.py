"""Where the rounds of real parties went: a host, a collaborator that trains, and one with a frozen bottom model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.cases import Case, Method
from benchmarks.harness.series import run_tiny_series, whole
from secure_hfl.work_clock import WORK

HOST, TRAINS, FROZEN = "party0", "party1", "party2"
SCHEMES = ("plain", "bfv", "masked")
BATCHES = 2
ENCRYPTION = ("encrypt", "product", "decrypt")
START = 1  # the host waits for the first batch after RoundStart
SIGNING = 2  # Checkpoint, Countersignature
COMMITMENT = 1  # to secrets, before the first batch of a round of training; of a frozen model before its first alone
FORM_TEST = 1  # of what ciphertexts hold, before the first batch of a conversation
OPENING_TEST = 4  # of a share under a mask, by whoever receives it: two messages each way for the mask, and the share
SHARE_TEST = 2 + FORM_TEST  # of the host's share before a batch, at most: the collaborator tosses coins

Rounds = list[dict[str, Any]]


def rounds_of(parties: Parties, name: str, task: str) -> Rounds:
    """A party's rounds, as its results tell them."""
    path = parties.homes[name] / "tasks" / parties.store(name).get(task).task_id / "results" / "metrics.json"
    rounds: Rounds = json.loads(path.read_text())["rounds"]
    return rounds


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Rounds]]]:
    """By scheme and party."""
    parties = Parties(tmp_path_factory.mktemp("work"), 3)
    ids = {scheme: parties.new_task(scheme, scheme) for scheme in SCHEMES}
    cases = [Case(), Case(), Case(arguments={"is_feature_trainable": False})]
    rows = {
        who: [{"task": ids[scheme], "case": parties.values(who, case)} for scheme in SCHEMES]
        for who, case in zip(parties.names, cases)
    }
    for task in run_tiny_series(parties, rows).tasks:
        assert all(end["ok"] for end in whole(task).values()), task
    yield {scheme: {name: rounds_of(parties, name, ids[scheme]) for name in parties.names} for scheme in SCHEMES}
    parties.stop()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_of_a_round_is_accounted_for(runs: dict[str, dict[str, Rounds]], scheme: str) -> None:
    for name, rounds in runs[scheme].items():
        assert len(rounds) == 2
        for each in rounds:
            work = each["work"]
            assert set(work) == set(WORK)
            assert sum(work.values()) == pytest.approx(each["train_seconds"])
            assert min(work.values()) >= 0
            always = {"bottom forward", "scheme, other", "serialise", "transcript", "wait", "other"}
            assert all(work[kind] > 0 for kind in always)
            assert (work["top"] > 0) == (name == HOST)
            assert (work["backward and step"] > 0) == (name != FROZEN)


def test_who_encrypts_what(runs: dict[str, dict[str, Rounds]]) -> None:
    for name, rounds in runs["bfv"].items():
        for each in rounds:
            # Features that have crossed once are not encrypted again.
            expected = set(ENCRYPTION) if name != FROZEN else {"product"} if each["round"] == 1 else set()
            # A collaborator's share is encrypted beside, where a thread can: that is no part of the round's own time.
            beside = {"encrypt"} if name not in (HOST, FROZEN) else set()
            kinds = {kind for kind in ENCRYPTION if each["work"][kind] > 0}
            assert expected - beside <= kinds <= expected


@pytest.mark.parametrize("scheme", ["plain", "masked"])
def test_nothing_is_encrypted_in_the_rounds_of_other_schemes(runs: dict[str, dict[str, Rounds]], scheme: str) -> None:
    for rounds in runs[scheme].values():
        assert not any(each["work"][kind] for each in rounds for kind in ENCRYPTION)


def test_two_round_trips_a_batch_under_encryption(runs: dict[str, dict[str, Rounds]]) -> None:
    for name, rounds in runs["bfv"].items():
        trips = (START if name == HOST else 0) + (1 if name == FROZEN else 2) * BATCHES + SIGNING
        # The layer's first batch is checked, which is two more, and what it consists of is tested.
        for each, check in zip(rounds, (2 + FORM_TEST, 0)):
            more = COMMITMENT if name == FROZEN else COMMITMENT + SHARE_TEST * BATCHES
            assert trips + check <= each["round_trips"] <= trips + check + more


def test_one_round_trip_a_batch_in_the_clear(runs: dict[str, dict[str, Rounds]]) -> None:
    for name, rounds in runs["plain"].items():
        trips = (START if name == HOST else 0) + BATCHES + SIGNING
        assert [each["round_trips"] for each in rounds] == [trips] * 2


def test_one_round_trip_a_batch_under_masks_that_are_sent_ahead(runs: dict[str, dict[str, Rounds]]) -> None:
    for name in (HOST, TRAINS):
        trips = (START if name == HOST else 0) + BATCHES + SIGNING
        # The first share that each side opens is tested, later ones by coins that it tosses.
        for each, check in zip(runs["masked"][name], (2 + 2 * OPENING_TEST, 0)):
            # One more for each batch whose mask was not sent ahead, as the first one's.
            assert trips + check <= each["round_trips"] <= trips + check + (1 + 2 * OPENING_TEST) * BATCHES


def test_a_resumed_run_accounts_for_the_rounds_after_it(parties: Parties) -> None:
    task = parties.new_task(scheme="bfv")
    host = parties.start(HOST, "tiny_party.py", "--rounds", "3")
    other = parties.start(TRAINS, "tiny_party.py", case=Case(hangs=Method.ITERATE_TRAIN_FEATURE_LATER), listens=True)
    other.wait_for("round")
    other.kill()  # somewhere before it hangs in round 2
    again = parties.start(TRAINS, "tiny_party.py", "--resume")
    assert [party.ended().code for party in (host, again)] == [0, 0]
    for name in parties.names:
        rounds = rounds_of(parties, name, task)
        assert [each["round"] for each in rounds] == [1, 2, 3]
        for each in rounds:
            assert sum(each["work"].values()) == pytest.approx(each["train_seconds"])
        trips = (START if name == HOST else 0) + 2 * BATCHES + SIGNING
        assert trips <= rounds[-1]["round_trips"] <= trips + COMMITMENT + SHARE_TEST * BATCHES
