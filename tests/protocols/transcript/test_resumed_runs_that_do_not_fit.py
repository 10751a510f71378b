"""What is found when the conversations of an interrupted run do not fit, and what is no fault."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.known_messages import MESSAGE_TYPES
from benchmarks.harness.pump import C, H, identity
from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.task.resumption import ResumePoint, TranscriptPosition
from protocols.transcript.auditor import audit
from protocols.transcript.errors import Severity
from protocols.transcript.format import lines_of
from protocols.transcript.message_check import FreshTags
from protocols.transcript.report import AuditReport
from tests.protocols.transcript.interrupted_runs import Run, check_run, interrupted, length
from tests.protocols.transcript.recorded_runs import key_of, kinds, rebuild, texts_of, transcripts
from tests.protocols.transcript.test_resumed_runs import PLAIN, SECURE, TWO, assert_holds, reports
from tests.vectors.verify_transcript import Invalid, verify


def found(report: AuditReport, kind: str, *texts: str) -> None:
    """There is such a finding, and it says so."""
    findings = [str(finding) for finding in report.findings if finding.kind == kind]
    assert any(all(text in finding for text in texts) for finding in findings), [str(f) for f in report.findings]


def test_a_missing_conversation_is_named() -> None:
    host, collaborator = interrupted(PLAIN, (80, 30, 40))
    report = check_run([host[0], *host[2:]])
    found(report, "IncompleteTranscript", "between host-1 and host-2", "agreement ")
    assert not [finding for finding in report.findings if finding.severity is Severity.ERROR]
    for files in ([host[0], *host[2:]], [host[3]], host[1:]):
        assert kinds(check_run(files)) == {"IncompleteTranscript"}
        assert kinds(check_run(files, collaborator)) >= {"IncompleteTranscript", "TranscriptsDisagree"}
    found(check_run(host[1:]), "IncompleteTranscript", "before host-1", "sent and")
    found(check_run(host, collaborator[:3]), "TranscriptsDisagree", "host-4", "no transcript of this conversation")


def test_a_run_whose_end_is_missing_is_not_finished() -> None:
    host, collaborator = interrupted(PLAIN, (80, 30, 40))
    for report in reports(host[:3], collaborator[:3]):
        assert kinds(report) == {"IncompleteTranscript"}
        assert not report.is_finished


def test_conversations_in_another_order_or_of_another_run_do_not_pass() -> None:
    host, collaborator = interrupted(PLAIN, (80, 30))
    other, _ = interrupted(PLAIN, (81, 30))
    for files in ([host[1], host[0], host[2]], [host[0], host[0], *host[1:]], [host[0], other[1], other[2]]):
        assert kinds(check_run(files))
        assert kinds(check_run(files, collaborator))
    assert "TranscriptsDisagree" in kinds(check_run(host, other))
    assert "TranscriptsDisagree" in kinds(check_run(host, host))
    assert kinds(check_run([*transcripts(PLAIN)[:1], *host[1:]]))


def test_an_earlier_transcript_cannot_be_cut_off_afterwards() -> None:
    host, collaborator = interrupted(PLAIN, TWO)
    texts = texts_of(host[0])
    for end in range(8, len(texts), 3):
        if all(text[:2] != b"e " for text in texts[end:]):
            continue
        cut = rebuild([*texts[:end], b"seal 00"], key_of(H))
        found(check_run([cut, host[1]]), "BrokenChain", "goes on from other messages")
        assert kinds(check_run([cut, host[1]], collaborator))


def test_a_torn_line_of_an_earlier_conversation_is_no_fault() -> None:
    run = Run(PLAIN)
    run.converse(78)
    assert texts_of(run.files[H][0])[-1].startswith(b"e c ")
    run.files[H][0] = run.files[H][0][:-9]  # killed while it was recording what it received
    assert run.converse()
    assert_holds(run.files[H], run.files[C])


def test_a_sender_that_lost_what_it_had_sent_is_found_from_every_side() -> None:
    """The machine went down before the system had written the file."""
    run = Run(PLAIN)
    run.converse(80)
    texts = texts_of(run.files[H][0])
    last = max(at for at, text in enumerate(texts) if text.startswith(b"e h"))
    run.files[H][0] = b"".join(run.files[H][0].splitlines(keepends=True)[:last])
    while not run.converse():
        pass
    found(check_run(run.files[H]), "TranscriptsDisagree", "messages were sent", "lost what was not yet on its disk")
    found(check_run(run.files[C], name="collaborator"), "TranscriptsDisagree", "messages of the host were received")
    found(check_run(run.files[H], run.files[C]), "TranscriptsDisagree", "were received at the other end")


def test_a_receiver_that_lost_what_it_had_signed_for_is_found() -> None:
    """Going back to an older copy of one's files does not undo a signature."""
    run = Run(PLAIN)
    run.converse(80)
    lines = run.files[C][0].splitlines(keepends=True)
    seals = [at for at, line in enumerate(lines) if line.startswith(b"seal")]
    run.files[C][0] = b"".join(lines[: seals[-2] + 1])
    assert run.converse()
    found(check_run(run.files[H]), "TranscriptsDisagree", "of which the collaborator has signed for all")
    assert kinds(check_run(run.files[C], run.files[H], name="collaborator"))


def test_a_peer_that_forgets_a_conversation_is_found() -> None:
    run = Run(PLAIN)
    run.converse(80)
    run.converse(30)
    run.files[C].pop()
    assert run.converse()
    found(check_run(run.files[H]), "TranscriptsDisagree", "does not know of host-2")
    found(check_run(run.files[C], name="collaborator"), "IncompleteTranscript", "missing here")
    found(check_run(run.files[H], run.files[C]), "TranscriptsDisagree", "host-2", "no transcript")


def test_a_manifest_that_never_arrived_is_seen_at_one_end_only() -> None:
    host, collaborator = interrupted(PLAIN, (80, 3, 3))
    assert (len(host), len(collaborator)) == (4, 2)
    assert not kinds(check_run(host))
    for files in ((host, collaborator), (collaborator, host)):
        assert not kinds(check_run(*files))
    verify(host, collaborator)
    # One end alone cannot know how far the host had come: it says so.
    report = check_run(collaborator, name="collaborator")
    found(report, "IncompleteTranscript", "whose manifest never arrived here")
    assert len(report.findings) == 1
    rows = check_run(collaborator, host, name="collaborator").resumes
    assert [row.lost_from_host is None for row in rows + report.resumes] == [False, True]


def altered(run: list[bytes], **agreed: object) -> list[bytes]:
    """The run with other values in what its last conversation was agreed on, by somebody who has both keys."""
    texts = texts_of(run[-1])
    fields = json.loads(texts[1].partition(b" ")[2])
    fields.update(agreed)
    texts[1] = b"agreed " + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return [*run[:-1], rebuild(texts, key_of(H, C))]


def position_in(run: list[bytes], sender: Sender) -> TranscriptPosition:
    fields = json.loads(texts_of(run[-1])[1].partition(b" ")[2])
    return TranscriptPosition.decode(bytes.fromhex(fields[f"{sender.role}_seam"]))


COUNTS = [("sent", -1), ("received", -1), ("received", 1)]


@pytest.mark.parametrize(("name", "more"), COUNTS, ids=["one sent less", "one received less", "one received more"])
@pytest.mark.parametrize("sender", list(Sender))
def test_both_cannot_agree_on_counts_that_do_not_fit(name: str, more: int, sender: Sender) -> None:
    position = position_in(interrupted(PLAIN, TWO)[0], sender)
    assert_position_is_refused(replace(position, **{name: getattr(position, name) + more}), sender)


@pytest.mark.parametrize("name", ["sent_head", "received_head", "agreement"])
@pytest.mark.parametrize("sender", list(Sender))
def test_both_cannot_agree_on_digests_that_do_not_fit(name: str, sender: Sender) -> None:
    position = position_in(interrupted(PLAIN, TWO)[0], sender)
    assert_position_is_refused(replace(position, **{name: bytes(32)}), sender)


def assert_position_is_refused(position: TranscriptPosition, sender: Sender) -> None:
    run = interrupted(PLAIN, TWO)[0]
    forged = altered(run, **{f"{sender.role}_seam": position.encode().hex()})
    assert kinds(check_run(forged)) & {"BrokenChain", "TranscriptsDisagree", "IncompleteTranscript"}
    with pytest.raises(Invalid):
        verify(forged)
    nothing = altered(run, **{f"{sender.role}_seam": ""})
    assert kinds(check_run(nothing)) & {"TranscriptsDisagree", "IncompleteTranscript"}


NEVER_REACHED = [
    ResumePoint(Phase.TRAIN, 1, 2),
    ResumePoint(Phase.TRAIN, 1),
    ResumePoint(Phase.TRAIN, 2, 1),
    ResumePoint(Phase.TEST, 1),
    ResumePoint(Phase.TRAIN, 9),
    ResumePoint(Phase.TRAIN, 1, 1 << 30),
]


@pytest.mark.parametrize("point", NEVER_REACHED, ids=str)
def test_nobody_goes_on_from_where_the_run_never_was(point: ResumePoint) -> None:
    run = interrupted(PLAIN, TWO)[1]
    found(
        check_run(altered(run, resumed_at=[int(part) for part in point]), name="collaborator"),
        "IllegalOrder",
        "not reached before",
    )


def test_what_was_left_behind_is_gone() -> None:
    """Back from the second round to the first: nobody goes on from the second then without having been there again."""
    run = Run(PLAIN)
    run.converse(length(PLAIN) - 8)
    at = next(number for number, saved in enumerate(run.saved) if saved.point == ResumePoint(Phase.TRAIN, 2))
    ahead = run.saved[at]
    run.saved = [saved for saved in run.saved if saved.point == ResumePoint(Phase.TRAIN, 1)]
    run.converse(30)
    run.saved = [ahead]
    assert run.converse()
    found(check_run(run.files[H]), "IllegalOrder", "the end of training round 2, which was not reached before")


def test_a_checkpoint_has_one_place() -> None:
    host, _ = interrupted(PLAIN, (80, 30))
    tag = json.loads(texts_of(host[1])[1].partition(b" ")[2])["resumed_from"]
    found(check_run(altered(host, resumed_from=tag, resumed_at=[4, 0, 0])), "IllegalOrder", "has two places")


OTHER_TERMS = {
    "task_id": "other",
    "scheme_parameters": "{}",
    "is_trainable": False,
    "projection_width": 3,
    "host": "clinic",
    "is_reproducible": True,
    "label_epsilon": 3.0,
    "collaborators": ["patient", "third"],
    "host_certificate": identity("stranger").certificate_pem.decode(),
}


@pytest.mark.parametrize(("name", "value"), OTHER_TERMS.items(), ids=OTHER_TERMS)
def test_a_run_goes_on_under_the_same_terms(name: str, value: object) -> None:
    run = altered(interrupted(PLAIN, TWO)[0], **{name: value})
    found(check_run(run), "IllegalOrder", f"other than in host-1: {name.replace('_', ' ')}")
    with pytest.raises(Invalid):
        verify(run)


def test_a_session_serves_once() -> None:
    run = interrupted(PLAIN, TWO)[0]
    tag = json.loads(texts_of(run[0])[1].partition(b" ")[2])["session_tag"]
    found(check_run(altered(run, session_tag=tag)), "RepeatedContent", "session")


def test_no_ciphertext_mask_or_nonce_survives_an_interruption() -> None:
    """For each fresh type: its tag put in place of one of the conversation before is found, at its line."""
    for case in (SECURE[0], SECURE[3]):
        host, _ = interrupted(case, (length(case) - 12,), older=2)
        first, second = (texts_of(file) for file in host)
        fresh = {kind.__name__ for kind in MESSAGE_TYPES if wire_format(kind).ledger.is_fresh}
        names = {text.split(b" ")[3].decode() for text in second if text.startswith(b"e ")} & fresh
        assert names >= {"Hello", "ProjectionKey"}
        for name in names - {"MarkQuery"}:  # the first conversation has none
            old = [text.split(b" ")[9] for text in first if b" %b " % name.encode() in text]
            at = next(number for number, text in enumerate(second) if b" %b " % name.encode() in text)
            fields = second[at].split(b" ")
            fields[9] = old[0]
            forged = rebuild([*second[:at], b" ".join(fields), *second[at + 1 :]], key_of(H, C))
            report = check_run([host[0], forged])
            found(report, "RepeatedContent", f"host-2, line {at + 1}", "of host-1", name)
            with pytest.raises(Invalid, match="used before"):
                verify([host[0], forged])


def test_a_run_is_compared_with_other_runs_in_all_its_conversations() -> None:
    fresh = FreshTags()
    host, _ = interrupted(PLAIN, (30,))
    assert not kinds(check_run(host, fresh=fresh))
    assert "RepeatedContent" in kinds(audit(lines_of([host[1]]), names=("again", ""), fresh=fresh))


def test_a_size_is_checked_with_what_an_earlier_conversation_announced() -> None:
    case = SECURE[0]
    host, _ = interrupted(case, (length(case) - 12,), older=2)
    texts = texts_of(host[1])
    at = next(number for number, text in enumerate(texts) if b" Projection " in text)
    fields = texts[at].split(b" ")
    fields[7] = b"%d" % (int(fields[7]) + 1)
    forged = rebuild([*texts[:at], b" ".join(fields), *texts[at + 1 :]], key_of(H, C))
    found(check_run([host[0], forged]), "ImpossibleSize", "host-2")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_values_in_what_was_agreed_make_the_auditor_crash(data: st.DataObject) -> None:
    host, collaborator = interrupted(PLAIN, TWO)
    numbers = st.integers(0, (1 << 31) - 1)
    place = data.draw(st.lists(numbers, min_size=3, max_size=3) | st.just([]))
    positions = [st.binary(min_size=112, max_size=112).map(bytes.hex) | st.just("") for _ in Sender]
    one, other = (data.draw(each) for each in positions)
    tag = data.draw(st.sampled_from(["", "0" * 64]))
    forged = altered(host, resumed_at=place, resumed_from=tag, host_seam=one, collaborator_seam=other)
    assert kinds(check_run(forged))
    assert kinds(check_run(forged, collaborator))
    assert kinds(check_run(collaborator, forged, name="collaborator"))
