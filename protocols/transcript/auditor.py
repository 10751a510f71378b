"""Audits the transcripts of one party, or those of both ends together.

    report = audit(lines_of(chunks_of_host_file), lines_of(chunks_of_collaborator_file))
    report = audit_run([first, second, third], [other_first, ...])       a run that was interrupted, and went on

One end's files show what their writer cannot have made up: the other party has signed everything up to the last signed
head of each, and up to each interruption. Both ends together show the rest: every message that one sent, the other
received, byte for byte, or it was lost when the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from protocols.core.distance import RUN_BITS, Distance
from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.schemes.registry import known_types, registered_names, registered_scheme
from protocols.transcript.compare_ends import EndComparison
from protocols.transcript.errors import InvalidTranscriptSignature, ShownTooMuch, TranscriptsDisagree
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.message_check import FreshTags
from protocols.transcript.opened_transcript import OpenedTranscript, named_heads, open_transcript
from protocols.transcript.preamble import AgreedTerms
from protocols.transcript.report import AuditReport, Finding, Party, SeenManifest, Traffic
from protocols.transcript.resumed_runs import RunAtOneEnd
from protocols.transcript.run_ledger import Crossed, RunLedger, ledger_of_run
from protocols.transcript.traffic_count import traffic_of

Pair = tuple[int | None, int | None]
"""A conversation's number at each end; None where an end does not have it."""


def audit(
    lines: Iterable[bytes],
    other: Iterable[bytes] | None = None,
    *,
    names: tuple[str, str] = ("first", "second"),
    trusted: Collection[str] = (),
    fresh: FreshTags | None = None,
) -> AuditReport:
    """Check a run of one conversation. Arguments as for `audit_run`, one file in place of each list."""
    others = None if other is None else [other]
    return audit_run([lines], others, names=(names[:1], names[1:]), trusted=trusted, fresh=fresh)


def audit_run(
    conversations: Sequence[Iterable[bytes]],
    others: Sequence[Iterable[bytes]] | None = None,
    *,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    trusted: Collection[str] = (),
    fresh: FreshTags | None = None,
) -> AuditReport:
    """Check one run, which may have been interrupted. Each file is read once.

    Args:
        conversations: one end's transcripts in order, at least one: lines with their ends (`format.lines_of`).
        others: those of the other end.
        names: what findings call them; all different.
        trusted: fingerprints (SHA-256, hexadecimal) of the certificates that the parties are known to have; without
            them the certificates in the file are taken for theirs.
        fresh: tags of other runs, to find what was used in more than one; this run's are added.

    Returns:
        What was found. Whatever the files hold, it is a finding and not an exception.
    """
    given = [conversations] if others is None else [conversations, others]
    called = names or tuple([f"{end} {n}" for n in range(1, len(each) + 1)] for end, each in zip("ab", given))
    opened = [[open_transcript(*each) for each in zip(files, called[at])] for at, files in enumerate(given)]
    named = named_heads(each for files in opened for each in files)
    # Both ends hold the same fresh messages: only the first end's are looked at.
    tags = [FreshTags() if fresh is None else fresh, None]
    ends = [RunAtOneEnd(files, named, tags[at]) for at, files in enumerate(opened)]
    if len(ends) == 2:
        findings = _both(*ends)
    else:
        findings = []
        for each in opened[0]:
            _read(ends[0], each)
    for end in ends:
        end.finish()
    known = {fingerprint.replace(":", "").lower() for fingerprint in trusted}
    findings = [finding for end in ends for finding in end.all_findings()] + findings
    findings += [finding for end in ends for file in end.files for finding in _strangers(file, known)]
    return _report(ends, [*findings, *_too_much(ends[0])])


def _read(end: RunAtOneEnd, transcript: OpenedTranscript) -> FileAuditor:
    file = end.begin_file()
    for line in transcript.lines:
        file.feed(line)
    end.finish_file()
    return file


def _both(one: RunAtOneEnd, other: RunAtOneEnd) -> list[Finding]:
    """Read both ends, conversation by conversation, and compare them."""
    one.other_end, other.other_end = other.by_conversation, one.by_conversation
    findings: list[Finding] = []
    lost = {}
    for at, opposite in _paired(one.transcripts, other.transcripts):
        if at is None or opposite is None:
            end, number = (one, at) if at is not None else (other, opposite)
            findings += _without_peer(_read(end, end.transcripts[number or 0]))
            continue
        comparison = EndComparison((one.begin_file(), other.begin_file()))
        comparison.read((one.transcripts[at].lines, other.transcripts[opposite].lines))
        one.finish_file()
        other.finish_file()
        findings += comparison.finish(one.is_followed(at) and other.is_followed(opposite))
        lost[at] = comparison.lost
    for at, counts in lost.items():
        one.note_lost(at, counts)
    return findings


def _paired(ones: Sequence[OpenedTranscript], others: Sequence[OpenedTranscript]) -> Iterator[Pair]:
    """Which transcripts are of one conversation, in order. Where none is, the first are compared: they disagree."""
    digests = [each.digest for each in others]
    if not {each.digest for each in ones if each.digest} & set(digests):
        yield 0, 0
        yield from ((at, None) for at in range(1, len(ones)))
        yield from ((None, at) for at in range(1, len(others)))
        return
    done = 0
    for at, each in enumerate(ones):
        if each.digest and each.digest in digests[done:]:
            opposite = digests.index(each.digest, done)
            yield from ((None, between) for between in range(done, opposite))
            yield at, opposite
            done = opposite + 1
        else:
            yield at, None
    yield from ((None, at) for at in range(done, len(others)))


def _without_peer(file: FileAuditor) -> Iterator[Finding]:
    """Only one end has this conversation: its manifest cannot have arrived."""
    if file.terms is not None and not file.is_unanswered:
        problem = "the other end has no transcript of this conversation, in which it had taken part"
        yield Finding.of(TranscriptsDisagree(problem, "one of both ends", meaning=_ONE_END), file.name)


_ONE_END = "A transcript of the other end was taken away, or left out here; or this one was made up."


def _strangers(file: FileAuditor, known: Collection[str]) -> Iterable[Finding]:
    if file.terms is None or not known:
        return
    for sender in Sender:
        fingerprint = file.terms.certificate(sender).fingerprint
        if fingerprint not in known:
            problem = say(
                "the {sender}'s certificate is {fingerprint}", sender=say(sender.role), fingerprint=fingerprint
            )
            yield Finding.of(InvalidTranscriptSignature(problem, "a certificate that is known"), file.name, 2)


def _report(ends: list[RunAtOneEnd], findings: list[Finding]) -> AuditReport:
    files = [(at, number, file) for at, end in enumerate(ends) for number, file in enumerate(end.files, 1)]
    summaries = tuple(replace(file.summary(), end=at, conversation=number) for at, number, file in files)
    order = {file.name: at for at, (_, _, file) in enumerate(files)}
    ordered = sorted(findings, key=lambda finding: (order.get(finding.file, 0), finding.line))
    traffic = traffic_of(file.traffic for file in ends[0].files)
    terms = next((file.terms for file in ends[0].files if file.terms is not None), None)
    if terms is None:
        return AuditReport("", "", "", (), summaries, tuple(ordered), traffic, None)
    software = {file.writer.sender: dict(file.writer.software) for _, _, file in files if file.writer is not None}
    parties = tuple(
        Party(terms.name(sender), sender.role, terms.certificate(sender).fingerprint, software.get(sender, {}))
        for sender in Sender
    )
    return AuditReport(
        terms.task_id,
        terms.scheme,
        terms.scheme_parameters,
        parties,
        summaries,
        tuple(ordered),
        traffic,
        _ledger(terms, traffic),
        tuple(ends[0].resumes),
        terms.label_epsilon,
        _shown(ends[0]),
        tuple(_manifest(file, file.terms) for file in ends[0].files if file.terms is not None),
    )


def _manifest(file: FileAuditor, terms: AgreedTerms) -> SeenManifest:
    seen = terms.manifest_digest, file.traffic.is_behind_joining, len(terms.collaborators)
    return SeenManifest(file.name, *seen, terms.for_all(), terms.for_pair())


def _shown(end: RunAtOneEnd) -> dict[str, Distance]:
    """By role, over all conversations."""
    shown: dict[str, Distance] = {}
    for file in end.files:
        if file.terms is not None and file.shown is None:
            return {}
        for sender, distance in (file.shown or {}).items():
            shown[sender.role] = shown.get(sender.role, Distance()) + distance
    return shown


def _too_much(end: RunAtOneEnd) -> Iterator[Finding]:
    for role, distance in _shown(end).items():
        if not distance.fits:
            problem = say(
                "what the {party} sent has a statistical distance of {distance} over the whole run",
                party=say(role),
                distance=str(distance),
            )
            yield Finding.of(ShownTooMuch(problem, say("2^-{bits} at most", bits=RUN_BITS)), end.files[-1].name)


def _ledger(terms: AgreedTerms, traffic: Sequence[Traffic]) -> RunLedger | None:
    """Of a scheme that is unknown here, nobody can say what its messages do not tell."""
    if terms.scheme not in registered_names():
        return None
    types, senders = known_types(terms.scheme), {sender.role: sender for sender in Sender}
    crossed = [Crossed(senders[each.sender], types[each.type], each.round) for each in traffic]
    steps = registered_scheme(terms.scheme).task_order(terms.is_trainable).steps
    summed = terms.collaborators if terms.is_summed else ()
    epsilon, is_prediction = terms.label_epsilon, bool(terms.trained)
    return ledger_of_run(terms.host, terms.collaborator, crossed, steps, epsilon, summed, is_prediction)
