"""Whole runs of every scheme audit clean, from either end and from both; what is missing or forged is found."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks.harness.known_messages import MESSAGE_TYPES
from benchmarks.harness.pump import C, H, identity
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.transcript.auditor import audit
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.finding_log import MAX_FINDINGS
from protocols.transcript.format import lines_of
from protocols.transcript.message_check import FreshTags
from tests.protocols.transcript.recorded_runs import aborted, check, key_of, kinds, rebuild, texts_of, transcripts
from tests.protocols.whole_task import Case, Task

CASES = [
    Case(),
    Case(trainable=False, skip=1),
    Case(d=5, o=3, batches=(6, 2)),
    Case("paillier", rounds=1),
    Case("masked"),
    Case("masked", trainable=False),
    Case("masked", rounds=1, batches=(4, 9, 3), skip=1),
    Case("plain"),
    Case("plain", buckets=3),
    Case("plain", trainable=False),
    Case("plain", has_projection=False, o=3, skip=0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_run_holds_from_either_end_and_from_both(case: Case) -> None:
    host, collaborator = transcripts(case)
    trusted = [identity(sender.role).fingerprint for sender in Sender]
    for files in ((host,), (collaborator,), (host, collaborator), (collaborator, host)):
        report = check(*files, trusted=trusted)
        assert not report.findings
        assert report.holds
        assert all(file.is_finished and file.sealed_lines == file.lines for file in report.files)


def test_both_ends_hold_the_same_messages_in_each_direction() -> None:
    host, collaborator = transcripts(Case("masked"))
    for sender in (b"e h ", b"e c "):
        one, other = ([t for t in texts_of(file) if t.startswith(sender)] for file in (host, collaborator))
        assert one == other


def test_every_type_was_seen_in_some_run() -> None:
    seen = {key[1] for case in CASES for key in check(transcripts(case)[0]).by_type}
    summed = Task(Case(names=("patient", "shop"), is_summed=True))
    summed.join()
    seen |= {key[1] for key in check(summed.wire.files[H]).by_type}
    elsewhere = {"protocols.lookup.messages", "protocols.overlap.messages"}  # tests/protocols/lookup, .../overlap
    names = {kind.__name__ for kind in MESSAGE_TYPES if kind.__module__ not in elsewhere}
    assert names - seen == {"Abort", "MarkQuery"}


def test_the_report_counts_bytes_and_says_who_learned_what() -> None:
    report = check(*transcripts(Case()))
    assert report.scheme == "bfv"
    assert report.by_type["collaborator", "Projection"][0] == 8
    assert sum(count for count, _ in report.by_round.values()) == report.files[0].messages
    assert report.by_round["train", 2][1] > 100_000
    assert report.ledger is not None
    assert any("smoothed projection" in each for each in report.ledger.host_learned)
    assert "patient's features in the clear" in report.ledger.never_sent_to_host
    assert "labels themselves" in report.ledger.never_sent_to_collaborator
    assert json.loads(json.dumps(asdict(report)))["task_id"] == "task"
    plain = check(*transcripts(Case("plain"))).ledger
    assert plain is not None
    assert "EVERY FEATURE of patient, in the clear" in plain.host_learned
    assert "patient's features in the clear" not in plain.never_sent_to_host


def test_nothing_secret_is_in_a_transcript() -> None:
    host, _ = transcripts(Case("masked"))
    fields = json.loads(texts_of(host)[1].partition(b" ")[2])
    assert "session" not in fields
    assert not {"nonces", "host_nonce"} & set(fields)
    widest = max(len(text) for text in texts_of(host) if text.startswith(b"e "))
    assert widest < 160


@pytest.mark.parametrize("overtakes", [False, True])
def test_an_aborted_run_has_no_fault_but_its_end(overtakes: bool) -> None:
    for case in (Case(), Case("plain")):
        host, collaborator = aborted(case, 3, overtakes)
        assert (b"\nx h " in collaborator) is overtakes
        for files in ((host,), (collaborator,), (host, collaborator), (collaborator, host)):
            assert kinds(check(*files)) == {"IncompleteTranscript"}


def test_an_abort_that_was_never_sent_is_found() -> None:
    host, collaborator = aborted(Case(), 3, True)
    texts = [text for text in texts_of(host) if b" Abort " not in text]
    report = check(rebuild(texts, key_of(H)), collaborator)
    assert "TranscriptsDisagree" in kinds(report)


def test_a_killed_process_leaves_a_file_that_holds_up_to_its_last_line() -> None:
    host, collaborator = transcripts(Case())
    ends = [at for at, byte in enumerate(host[:-1], 1) if byte == 10 and at > 3000]
    for end in [*range(3000, len(host), 2491), *ends[::8]]:
        report = check(host[:end])
        assert kinds(report) == {"IncompleteTranscript"}
        assert not report.holds
        assert kinds(check(host[:end], collaborator)) <= {"IncompleteTranscript", "TranscriptsDisagree"}


def test_an_older_version_of_a_file_is_found_from_the_other_end() -> None:
    """Rolled back to before something that the party itself has signed: no accident."""
    host, collaborator = transcripts(Case())
    texts = texts_of(host)
    seals = [at for at, text in enumerate(texts) if text.startswith(b"seal")]
    cut = rebuild(texts[: seals[3] + 1], {})
    assert cut == host[: len(cut)]
    report = check(cut, collaborator)
    assert any("itself has signed" in finding.expected for finding in report.findings)


def test_a_growing_file_can_be_followed() -> None:
    host, _ = transcripts(Case())
    auditor = FileAuditor("live")
    for line in lines_of([host]):
        auditor.feed(line)
        assert not auditor.findings
    assert auditor.is_finished


def test_certificates_that_nobody_knows_are_named() -> None:
    host, _ = transcripts(Case())
    report = check(host, trusted=[identity("host").fingerprint])
    assert kinds(report) == {"InvalidTranscriptSignature"}
    assert report.parties[1].fingerprint in report.findings[0].problem


def test_two_files_of_one_end_or_of_two_runs_do_not_pass() -> None:
    host, collaborator = transcripts(Case())
    other = transcripts(Case(rounds=1))[1]
    for files in ((host, host), (host, other), (collaborator, collaborator)):
        assert "TranscriptsDisagree" in kinds(check(*files))


def test_what_is_one_time_may_not_come_twice_within_a_run_or_across_runs() -> None:
    host, _ = transcripts(Case())
    texts = texts_of(host)
    at = [i for i, text in enumerate(texts) if b" Projection " in text]
    fields = texts[at[0]].split(b" ")
    again = texts[at[1]].split(b" ")
    again[9] = fields[9]
    texts[at[1]] = b" ".join(again)
    report = check(rebuild(texts, key_of(H, C)))
    assert kinds(report) == {"RepeatedContent"}
    fresh = FreshTags()
    assert check(host, fresh=fresh).holds
    assert "RepeatedContent" in kinds(audit(lines_of([host]), names=("again", ""), fresh=fresh))
    assert check(transcripts(Case("plain"))[0], fresh=fresh).holds


def test_plaintext_in_a_secure_task_is_found() -> None:
    texts = texts_of(transcripts(Case())[0])
    at = next(i for i, text in enumerate(texts) if b" Projection " in text)
    fields = texts[at].split(b" ")
    fields[3], fields[8], fields[9] = b"PlainFeatures", b"-", b"-"
    texts[at] = b" ".join(fields)
    assert "PlaintextInSecureTask" in kinds(check(rebuild(texts, key_of(H, C))))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_wrong_size_is_found(case: Case) -> None:
    """One byte more: found for every type whose length follows from the transcript; the others have a range."""
    texts = texts_of(transcripts(case)[0])
    ranges = {"Abort", "Manifest", "SplitDigest", "BatchOpen", "Checkpoint", "Countersignature", "PsiResult"}
    ranges |= {"FeatureGradient", "MaskedGradient"}
    seen = set()
    for at, text in enumerate(texts):
        fields = text.split(b" ")
        kind = fields[3].decode() if fields[0] == b"e" else ""
        if not kind or kind in seen:
            continue
        seen.add(kind)
        by = 1 if kind not in ranges else 100_000
        fields[7] = str(int(fields[7]) + by).encode()
        changed = rebuild([*texts[:at], b" ".join(fields), *texts[at + 1 :]], key_of(H, C))
        assert "ImpossibleSize" in kinds(check(changed)), kind


def test_a_run_without_its_checkpoints_does_not_pass() -> None:
    texts = texts_of(transcripts(Case())[0])
    dropped: list[bytes] = []
    for text in texts:
        fields = text.split(b" ")
        in_round_1 = fields[0] != b"e" or fields[4:6] == [b"5", b"1"]
        is_signature = b"heckpoint" in text or b"ountersignature" in text
        if not (is_signature and in_round_1 and fields[-1] and b" 5 1 " in text):
            dropped.append(text)
    assert "IllegalOrder" in kinds(check(rebuild(dropped, key_of(H, C))))


def test_findings_are_bounded_and_readable() -> None:
    texts = texts_of(transcripts(Case("masked"))[0])
    longer = [b" ".join([*f[:7], b"1", *f[8:]]) if (f := text.split(b" "))[0] == b"e" else text for text in texts]
    report = check(rebuild(longer, key_of(H, C)))
    assert len(report.findings) == MAX_FINDINGS
    line = str(report.findings[0])
    assert line.startswith("error: host, line 5, collaborator message 0 (Hello): 1 bytes. Expected: ")


def test_every_message_type_has_a_ledger_entry() -> None:
    entries = {kind: wire_format(kind).ledger for kind in MESSAGE_TYPES}
    for kind, entry in entries.items():
        sentences = (entry.readers, entry.host_learns, entry.collaborator_learns, entry.argument)
        filled = [sentence.format(host="H", collaborator="C") for sentence in sentences]
        assert filled[0], kind
        assert filled[3], kind
    plain = [entry for entry in entries.values() if entry.content.value == "plaintext"]
    assert len(plain) == 2
    assert all("CLEAR" in (entry.host_learns + entry.collaborator_learns).upper() for entry in plain)
    assert all("Not protected" in entry.argument for entry in plain)
