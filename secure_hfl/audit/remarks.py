"""What a reader of an audit should know besides: what was not, or could not be, checked."""

from __future__ import annotations

from protocols.core.sentence import Sentence, say
from protocols.schemes.registry import has_unbound_shares, is_plaintext
from protocols.transcript.errors import Severity
from protocols.transcript.finding_log import MAX_FINDINGS
from protocols.transcript.report import AuditReport
from secure_hfl.audit.audit_files import Audited, Verdict


def remarks(audited: Audited) -> list[Sentence]:
    """What a reader should know of what was not, or could not be, checked."""
    report, out = audited.report, []
    if audited.verdict is Verdict.FAILS and report.ledger is not None:
        out.append(say("Since not everything holds, who learned what is no more than what these files say."))
    if report.parties and not audited.is_trusted:
        out.append(
            say(
                "Certificates were taken from the file. Compare the fingerprints with the parties' by another channel, "
                "or give them with --fingerprint."
            )
        )
    out += _one_end(report)
    if is_plaintext(report.scheme):
        out.append(
            say(
                "Both parties asked for scheme {scheme}: features and gradients crossed the wire in the clear.",
                scheme=report.scheme,
            )
        )
    if has_unbound_shares(report.scheme):
        out.append(unbound(report))
    if any(len([f for f in report.findings if f.file == file.name]) >= MAX_FINDINGS for file in report.files):
        out.append(say("Only the first {n} findings of a file are kept; there may be more.", n=MAX_FINDINGS))
    if audited.left_out:
        out.append(
            say(
                "Left out: {files}. The run went on twice from one conversation, as happens when a copy of a party's "
                "files is put in place.",
                files=", ".join(audited.left_out),
            )
        )
    return [*out, *map(_compared, audited.others)]


def _one_end(report: AuditReport) -> list[Sentence]:
    """What one end's word is worth."""
    if not report.parties or report.has_both_ends:
        return []
    host, collaborator = (sum(file.signed_by_both[at] for file in report.first_end) for at in (0, 1))
    if len(report.first_end) > 1:
        text = (
            "One end's transcripts: both parties signed {host:,} of the host's messages and {collaborator:,} of the "
            "collaborator's. The rest is the writer's word, until the other end's transcripts are compared."
        )
    else:
        text = (
            "One end's transcript: both parties signed the host's first {host:,} messages and the collaborator's first "
            "{collaborator:,}. What follows is the writer's word, until the other end's transcript is compared."
        )
    return [say(text, host=host, collaborator=collaborator)]


def _compared(other: AuditReport) -> Sentence:
    errors = sum(finding.severity is Severity.ERROR for finding in other.findings)
    values = {"file": other.files[0].name, "n": other.messages}
    if other.holds:
        return say("Compared with {file}, {n:,} messages; it holds.", **values)
    if errors:
        return say("Compared with {file}, {n:,} messages; it is in error ({errors}).", errors=errors, **values)
    return say("Compared with {file}, {n:,} messages; it is incomplete.", **values)


def unbound(report: AuditReport) -> Sentence:
    """What a scheme assumes that has nothing to bind the parties' shares."""
    return say(
        "Scheme {scheme}: both parties are assumed to follow the protocol: nothing binds the share of the weights that "
        "a party computes with.",
        scheme=report.scheme,
    )
