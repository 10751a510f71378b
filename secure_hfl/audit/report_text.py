"""An audit in words and rows, the same for the terminal, the page and JSON.

What is said is a `Sentence`, so that the console can say it in Chinese.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, NamedTuple

from rich.filesize import decimal

from protocols.core.distance import RUN_BITS
from protocols.core.sentence import Sentence, say
from protocols.core.wire_format import wire_format
from protocols.schemes.registry import has_unbound_shares, is_plaintext, known_types, registered_names
from protocols.transcript.compare_manifests import of_same_task
from protocols.transcript.errors import Severity
from protocols.transcript.report import AuditReport, Finding
from secure_hfl.audit.audit_files import Audited, Verdict
from secure_hfl.audit.remarks import remarks, unbound

FORMAT = "secure-hfl-audit 1"


class State(str, Enum):
    """What one check came to."""

    HOLDS = "holds"
    PARTLY = "partly"
    FAILS = "fails"
    SKIPPED = "not checked"


@dataclass(frozen=True)
class Check:
    """One kind of thing that was looked at."""

    name: str
    state: State
    remark: str


@dataclass(frozen=True)
class TypeRow:
    """Messages of one type and sender in this run, with what the leakage ledger says of them."""

    sender: str
    type: str
    messages: int
    bytes: int
    content: str
    readers: str
    receiver_learns: str
    argument: str

    @property
    def why(self) -> Sentence:
        """Who can read it, and why no more follows."""
        return say("Readable by {readers}. {argument}", readers=self.readers, argument=self.argument)


_CHECKS = (
    ("MalformedTranscript", "The file is whole: format, and a check value on every line"),
    ("InvalidTranscriptSignature", "Certificates, signatures, countersignatures, seals"),
    ("BrokenChain", "What was signed is what is listed"),
    ("TranscriptsDisagree", "Both ends list the same messages"),
    ("ManifestsDiffer", "The host showed all collaborators the same manifest"),
    ("IllegalOrder", "Only messages that the protocol allows, in its order"),
    ("ImpossibleSize", "Every length is what the parameters imply"),
    ("RepeatedContent", "Nothing one-time was used twice"),
    ("ShownTooMuch", "The noise on all results together hides as much as a run must: 2^-{bits}"),
    ("PlaintextInSecureTask", "No data in the clear"),
    ("IncompleteTranscript", "The run has its end, signed by both"),
)


def size(count: int) -> str:
    """1234567 -> 1.2 MB."""
    return decimal(count) if count >= 1000 else f"{count} B"


def line_of(finding: Finding) -> str:
    """Where in its file it is; nothing for the file as a whole."""
    return say("line {n:,}", n=finding.line) if finding.line else ""


def expected(finding: Finding) -> str:
    """What should have been there; nothing where nobody can say."""
    return say("Expected: {what}", what=finding.expected) if finding.expected else ""


def fingerprint(digits: str) -> str:
    """AB:CD:..., as the other commands and OpenSSL show it."""
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).upper()


def headline(audited: Audited) -> Sentence:
    """The verdict in one sentence."""
    report = audited.report
    errors = sum(finding.severity is Severity.ERROR for finding in report.findings)
    if audited.verdict is Verdict.HOLDS:
        what = _extent(report)
        if report.has_both_ends:
            what = say("{what} at both ends", what=what)
        if report.is_of_older_version:
            return say(
                "Holds as far as an older version can still be checked: {what}, signed by both parties to the end. "
                "Order and sizes are not checked.",
                what=what,
            )
        return say("Everything holds: {what}, signed by both parties to the end.", what=what)
    if audited.verdict is Verdict.INCOMPLETE:
        return say(
            "Incomplete: nothing contradicts anything in {what}, but the run has no end signed by both.",
            what=_extent(report),
        )
    if errors:
        return say("DOES NOT HOLD: {errors} in {what}.", errors=_errors(errors), what=_extent(report))
    return say("DOES NOT HOLD: a transcript of another run, which this one was to be compared with, is in error.")


def _extent(report: AuditReport) -> Sentence:
    total = sum(each.bytes for each in report.traffic)
    return say("{messages}, {bytes}", messages=_messages(report.messages), bytes=size(total))


def _messages(number: int) -> Sentence:
    return say("1 message") if number == 1 else say("{n:,} messages", n=number)


def _errors(number: int) -> Sentence:
    return say("1 error") if number == 1 else say("{n:,} errors", n=number)


def scheme_name(report: AuditReport) -> str:
    """The scheme, with a warning if it hides nothing."""
    return say("{scheme} (NOT ENCRYPTED)", scheme=report.scheme) if is_plaintext(report.scheme) else report.scheme


def label_protection(report: AuditReport) -> str:
    """The bound for training labels; empty where none was declared."""
    if not report.label_epsilon:
        return ""
    return say("epsilon {epsilon:g} for each, over the whole task, as the host declares", epsilon=report.label_epsilon)


def terms(report: AuditReport) -> list[tuple[str, str]]:
    """What host and collaborator agreed on for the whole run."""
    return list(report.manifests[0].terms.items()) if report.manifests else []


def term_name(name: str) -> str:
    """projection_lr -> Projection lr."""
    return name.replace("_", " ").capitalize()


def checks(audited: Audited) -> list[Check]:
    """What was looked at, and what came of it."""
    report = audited.report
    broken = [f for f in report.findings if f.kind == "MalformedTranscript"]
    out = []
    for kind, name in _CHECKS:
        found = [finding for finding in report.findings if finding.kind == kind]
        errors = sum(finding.severity is Severity.ERROR for finding in found)
        state, remark = _without_findings(kind, audited)
        if errors:
            state, remark = State.FAILS, _errors(errors)
        elif found and state is not State.SKIPPED:
            state, remark = State.PARTLY, found[0].problem
        elif broken and state is State.HOLDS and kind != "MalformedTranscript":
            remark = say("up to line {line} of {file}", line=broken[0].line - 1, file=broken[0].file)
            state = State.PARTLY
        out.append(Check(say(name, bits=RUN_BITS), state, remark))
    return out


def _without_findings(kind: str, audited: Audited) -> tuple[State, str]:
    """What a check comes to where it found nothing."""
    report = audited.report
    if kind == "MalformedTranscript":
        return State.HOLDS, ""
    if not report.parties:
        return State.SKIPPED, say("the file ends too early")
    if kind == "TranscriptsDisagree" and not report.has_both_ends:
        return State.SKIPPED, say("give the other end's transcript as well")
    if kind == "ManifestsDiffer":
        return _manifests(audited)
    if kind == "PlaintextInSecureTask" and is_plaintext(report.scheme):
        return State.SKIPPED, say("scheme {scheme} was agreed on: NOTHING IS ENCRYPTED", scheme=report.scheme)
    if kind == "PlaintextInSecureTask" and report.scheme not in registered_names():
        return State.SKIPPED, say("scheme {scheme} is not installed here", scheme=report.scheme)
    is_known = not report.is_of_older_version and not any(
        f.kind == "IllegalOrder" and f.severity is Severity.WARNING for f in report.findings
    )
    if kind in ("IllegalOrder", "ImpossibleSize") and not is_known:
        return State.SKIPPED, say("this version does not know the protocol version, the scheme or its parameters")
    if kind == "ShownTooMuch":
        return _shown(report)
    if kind == "RepeatedContent":
        return State.HOLDS, _compared_runs(len(audited.others))
    return State.HOLDS, ""


def _compared_runs(others: int) -> str:
    if others == 1:
        return say("also compared with 1 other run")
    return say("also compared with {n:,} other runs", n=others) if others else ""


def _manifests(audited: Audited) -> tuple[State, str]:
    same = of_same_task(audited.report, audited.others)
    if not same and all(seen.collaborators == 1 for seen in audited.report.manifests):
        return State.HOLDS, say("it names one collaborator")
    if not same:
        return State.SKIPPED, say("give other collaborators' transcripts of this task with --other")
    if len(same) == 1:
        return State.HOLDS, say("compared with 1 other collaborator")
    return State.HOLDS, say("compared with {n:,} other collaborators", n=len(same))


def _shown(report: AuditReport) -> tuple[State, str]:
    if not report.shown:
        return State.SKIPPED, say("no noise that this version knows")
    return State.HOLDS, ", ".join(f"{role} {distance}" for role, distance in report.shown.items())


def interruptions(report: AuditReport) -> str:
    """One sentence, or nothing for a run that was not interrupted."""
    places, conversations = ", ".join(resume.place for resume in report.resumes), len(report.first_end)
    if not report.resumes:
        return ""
    if conversations == 1:
        return say("1 conversation, resumed once, from {places}.", places=places)
    if len(report.resumes) == 1:
        return say("{n:,} conversations, resumed once, from {places}.", n=conversations, places=places)
    text = "{n:,} conversations, resumed {times:,} times, from {places}."
    return say(text, n=conversations, times=len(report.resumes), places=places)


def resume_rows(report: AuditReport) -> list[tuple[int, str, str, str, str]]:
    """For each resume: conversation, transcript, place, and how many of the host's and the collaborator's were lost."""

    def lost(count: int | None) -> str:
        return say("unknown") if count is None else f"{count:,}"

    return [
        (each.conversation, each.file, each.place, lost(each.lost_from_host), lost(each.lost_from_collaborator))
        for each in report.resumes
    ]


class PartyLedger(NamedTuple):
    """What one party has of the other's data after a run, and what no message carried to it."""

    name: str
    role: str
    learned: tuple[str, ...]
    may_infer: tuple[str, ...]
    never_sent: tuple[str, ...]

    @property
    def heading(self) -> Sentence:
        """Of what it learned."""
        return say("What {name} learned", name=self.name)


def party_ledgers(report: AuditReport) -> list[PartyLedger]:
    """The host's and the collaborator's; none if nobody here can say."""
    ledger = report.ledger
    if ledger is None:
        return []
    return [
        PartyLedger(ledger.host, "host", ledger.host_learned, ledger.host_may_infer, ledger.never_sent_to_host),
        PartyLedger(
            ledger.collaborator,
            "collaborator",
            ledger.collaborator_learned,
            ledger.collaborator_may_infer,
            ledger.never_sent_to_collaborator,
        ),
    ]


def type_rows(report: AuditReport) -> list[TypeRow]:
    """By sender and type, the largest first."""
    host, collaborator = (party.name for party in report.parties) if report.parties else ("host", "collaborator")

    def said(text: str) -> str:
        return say(text, host=host, collaborator=collaborator) if text else ""

    rows, is_summed = [], report.ledger is not None and bool(report.ledger.summed)
    types = known_types(report.scheme)
    for (sender, message_type), (messages, total) in report.by_type.items():
        entry = wire_format(types[message_type]).ledger
        learns = entry.collaborator_learns if sender == "host" else entry.learned_by_host(is_summed)
        texts = said(entry.readers), said(learns), said(entry.argument)
        rows.append(TypeRow(sender, message_type, messages, total, entry.content.value, *texts))
    return sorted(rows, key=lambda row: -row.bytes)


def round_rows(report: AuditReport) -> Iterator[tuple[str, int, dict[str, tuple[int, int]]]]:
    """By phase and round, in order: (messages, bytes) by sender."""
    table: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    for each in report.traffic:
        row = table.setdefault((each.phase, each.round), {})
        messages, total = row.get(each.sender, (0, 0))
        row[each.sender] = messages + each.messages, total + each.bytes
    for (phase, number), row in table.items():
        yield phase, number, row


def summarise(report: AuditReport) -> list[str]:
    """Two to seven lines: the verdict, how much was checked, what each party learned."""
    wrong = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    ends = "both ends' transcripts" if report.has_both_ends else "one end's transcript"
    if len(report.first_end) > 1:
        ends = f"{ends.removesuffix('s')}s of {len(report.first_end)} conversations"
    checked = f"{ends}, {_extent(report)}"
    if report.holds:
        lines = [f"The transcripts hold: {checked}, signed by both parties."]
    elif wrong:
        lines = [f"The transcripts DO NOT HOLD: {_errors(len(wrong))} in {checked}.", str(wrong[0])]
    else:
        lines = [f"The transcripts are incomplete: {checked}; nothing contradicts anything."]
    for party in party_ledgers(report):
        inferred = f". From the whole run it may infer: {'; '.join(party.may_infer)}" if party.may_infer else ""
        known = "; ".join(party.learned) or "nothing of the other party"
        lines.append(f"{party.name} ({party.role}) learned: {known}{inferred}.")
        lines.append(f"  It was never sent: {'; '.join(party.never_sent)}.")
    if has_unbound_shares(report.scheme):
        lines.append(unbound(report))
    return lines


def to_json(audited: Audited) -> dict[str, Any]:
    """Everything that an audit found, as plain data."""
    report = audited.report
    return {
        "format": FORMAT,
        "verdict": audited.verdict.value,
        "holds": audited.verdict is Verdict.HOLDS,
        "checks": [asdict(check) for check in checks(audited)],
        "remarks": remarks(audited),
        **asdict(report),
        "is_finished": report.is_finished,
        "interruptions": interruptions(report),
        "left_out": list(audited.left_out),
        "by_type": [asdict(row) for row in type_rows(report)],
        "by_round": [
            {"phase": phase, "round": number, "sender": sender, "messages": messages, "bytes": total}
            for phase, number, row in round_rows(report)
            for sender, (messages, total) in row.items()
        ],
        "other_runs": [{"holds": other.holds, **asdict(other)} for other in audited.others],
    }
