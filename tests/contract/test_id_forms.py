"""Ids that nearly match: what a party can say of its own, before training and to nobody else."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.scripts.tiny import TinyCollaborator
from secure_hfl.engine.id_forms import Forms, what_may_not_match
from tests.dry_run.test_findings import findings, only
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

BLANKS = "have blanks or invisible characters at an end"
QUOTES = "stand in quotes"
UNICODE = "have characters that Unicode has simpler forms of"
CAPITALS = "have capital letters ('A1')"
FLOATS = "are numbers with a sign or a decimal point ('7.0')"
ZEROS = "begin with zeros ('007')"


WRITTEN: tuple[tuple[str, set[str]], ...] = (
    ("1", set()),
    ("0", set()),
    ("a-1", set()),
    ("1.5", set()),
    ("2020-01-02", set()),
    ("01", {ZEROS}),
    ("000", {ZEROS}),
    ("a01", set()),
    ("1 ", {BLANKS}),
    ("\t1", {BLANKS}),
    ("\ufeff1", {BLANKS}),
    ("1\u200b", {BLANKS}),
    ("'1'", {QUOTES}),
    ("1.0", {FLOATS}),
    ("1e3", {FLOATS}),
    ("+1", {FLOATS}),
    ("-7.00", {FLOATS}),
    ("nan", set()),
    ("A1", {CAPITALS}),
    ("\uff11", {UNICODE}),
    ("\ufb01x", {UNICODE}),
    (" 01.0", {BLANKS, FLOATS}),
    ("\uff21\uff10", {UNICODE, CAPITALS}),
)


@pytest.mark.parametrize(("written", "forms"), WRITTEN, ids=[ascii(written) for written, _ in WRITTEN])
def test_what_is_not_the_plainest_way(written: str, forms: set[str]) -> None:
    assert set(Forms([written]).counts) == forms


def test_ids_that_differ_in_their_form_only() -> None:
    forms = Forms(["1", "01", "1 ", "1.0", "a1", "A1", "2"])
    assert forms.doubles == 4
    assert forms.are_odd
    assert not Forms(["01", "02"]).are_odd, "all with zeros in front is a way to write ids"


NUMBERS = [str(number) for number in range(1000)]
PADDED = [f"{number:06}" for number in range(1000)]


@pytest.mark.parametrize(
    ("ids", "common", "said"),
    [
        (PADDED, set(), "of these 1,000, 1,000 begin with zeros ('007')"),
        (PADDED, set(PADDED[:499]), "501 of the 1,000 own ids are not at all parties"),
        (PADDED, set(PADDED[:500]), ""),  # half of them match, so this is how ids are written
        (NUMBERS, set(), ""),  # written plainly: whatever is wrong, it is not that
        ([*NUMBERS[:990], "x ", "y "], set(NUMBERS[:990]), "of these 2, 2 have blanks"),
        ([*NUMBERS, "07.0"], set(NUMBERS), "of these 1, 1 are numbers with a sign or a decimal point ('7.0')"),
        ([*NUMBERS, " x"], {*NUMBERS, " x"}, ""),  # odd, and in common
    ],
    ids=["none", "few", "half", "plain", "blanks", "a double", "odd but in common"],
)
def test_what_is_said_before_training(ids: list[str], common: set[str], said: str) -> None:
    text = what_may_not_match(ids, common)
    assert said in text
    assert bool(said) == bool(text)


def test_of_many_ids_some_are_looked_at() -> None:
    started = time.process_time()
    text = what_may_not_match([f"{number:012}" for number in range(1_000_000)], set())
    assert text.endswith("of 100,000 of them, 100,000 begin with zeros ('007')")
    assert time.process_time() - started < 20


def test_a_party_is_told_of_its_own_ids_and_nobody_else_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = [str(number) for number in range(32, 128)] + [f"{number:09}" for number in range(200)]
    with caplog.at_level(logging.WARNING, "secure_hfl"):
        parties = MemoryParties(tmp_path, cases={COLLABORATOR: {"ids": ids}})
        parties.execute()
    assert not parties.errors
    said = [each.message for each in caplog.records if "own ids are not" in each.message]
    assert said == [
        "200 of the 296 own ids are not at all parties. Ids match only where all write them alike; of these 200, 200 "
        "begin with zeros ('007')."
    ]
    for party, count in ((HOST, 0), (COLLABORATOR, 1)):
        log = parties.runs[party].bench.assignment.directory / "log.txt"
        assert log.read_text().count("begin with zeros") == count


def test_accents_in_two_ways_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """PSI takes both for one id. Code that sorts ids, as the README's does, would pair the wrong rows."""
    ids = [str(number) for number in range(32, 128)] + ["cafe\u0301", "caf\u00e9s"]
    _, error = findings(TinyCollaborator(Case(index=1, ids=ids)))
    assert "some ids are not in Unicode's form NFC" in str(error)
    parties = MemoryParties(tmp_path, cases={COLLABORATOR: {"ids": ids}})
    parties.execute()
    assert "return unicodedata.normalize('NFC', id) for each" in str(parties.errors[COLLABORATOR])
    assert HOST in parties.errors


def test_secure_hfl_check_says_it_of_ids() -> None:
    ids = [*map(str, range(32, 128)), "033"]
    found, error = findings(TinyCollaborator(Case(index=1, ids=ids)))
    assert error is None
    assert only(found, "warn").detail.endswith("1 begin with zeros ('007'), 1 differ from another one in nothing else")
