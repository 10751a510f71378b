"""Whole tasks in memory: both ends' real roles, a recorder at each end, and the two transcripts that come out."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from benchmarks.harness.pump import C, H, Wire, identity
from protocols.core.envelope import Phase, Place
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.psi import PsiReceiver, hash_ids
from protocols.task.abort import Abort
from protocols.transcript.auditor import audit
from protocols.transcript.chain import Chain, digest_of, seal_data, statement
from protocols.transcript.errors import Severity
from protocols.transcript.format import RunningHash, SignedHead, lines_of, parse, signed_head_text
from protocols.transcript.preamble import WriterInfo
from protocols.transcript.report import AuditReport
from secure_hfl.identity import Identity
from tests.protocols.whole_task import Case, Task

DEFAULT = Case()


@lru_cache
def transcripts(case: Case = DEFAULT) -> tuple[bytes, bytes]:
    """The host's and the collaborator's transcript of one run of a case."""
    wire = Task(case).run().wire
    return wire.files[H], wire.files[C]


def aborted(case: Case, after: int, overtakes: bool) -> tuple[bytes, bytes]:
    """A run that the host stops in its first round; the Abort may overtake `after` messages of it."""
    task = Task(case)
    task.join()
    wire = task.wire
    wire.place = Place(Phase.PSI)
    role = PsiReceiver(hash_ids(task.manifest.pair("patient"), [f"id{i}" for i in range(10)]), OsRandomness(), chunk=1)
    wire.send(H, role.open())
    for points in list(role.masked_points())[:after]:
        wire.send(H, points)
    wire.send(H, Abort("stopped by its user", "hospital", "Stopped"))
    if overtakes:
        wire.inboxes[C].rotate(1)
    while wire.inboxes[C]:
        wire.receive(C)
        if overtakes:
            break
    return wire.files[H], wire.files[C]


def joined() -> Wire:
    """Two recorders after the first exchange."""
    task = Task(Case(), wires=[Wire()])
    task.join()
    task.wire.place = Place(Phase.PSI)
    return task.wire


def check(one: bytes, other: bytes | None = None, **options: Any) -> AuditReport:
    """Audit whole files."""
    second = None if other is None else lines_of([other])
    return audit(lines_of([one]), second, names=("host", "collaborator"), **options)


# Forgers: what somebody can do to a file, with whose keys -------------------------------------------------------------


def texts_of(file: bytes) -> list[bytes]:
    """The lines without their check values."""
    return [line.rpartition(b" ")[0] for line in file.splitlines()]


def rebuild(texts: list[bytes], keys: dict[Sender, Identity]) -> bytes:
    """The file of these lines, with check values, chains and whatever can be signed with these keys made anew.

    Signatures of parties whose key is not there stay as they are, with the heads that they sign.
    """
    running, chains, heads, digests = RunningHash(), {}, {}, {}
    agreement, writer, out = b"", H, b""
    for number, text in enumerate(texts, 1):
        kind, _, body = text.partition(b" ")
        if number == 2:
            agreement = digest_of("agreed", body)
            chains = {sender: Chain(agreement, sender) for sender in Sender}
            heads = {sender: [chains[sender].at[1]] for sender in Sender}
        elif number == 3:
            writer = WriterInfo.parse(body.decode()).sender
            digests[writer] = digest_of("own", body)
        elif kind == b"e":
            sender = Sender(text[2:3].decode())
            chains[sender].append(text, False)
            heads[sender].append(chains[sender].at[1])
        elif kind == b"seal" and writer in keys:
            text = b"seal " + keys[writer].sign(seal_data(running.value)).hex().encode()
        elif kind in (b"checkpoint", b"countersignature"):
            signed = parse(text, number)
            assert isinstance(signed, SignedHead)
            text = signed_head_text(_signed_again(signed, keys, agreement, digests, heads[signed.sender]))
        out += running.write(text)
    return out


def _signed_again(
    old: SignedHead, keys: dict[Sender, Identity], agreement: bytes, digests: dict[Sender, bytes], heads: list[bytes]
) -> SignedHead:
    is_checkpoint = old.writer_digest is not None
    signer = old.sender if is_checkpoint else old.sender.other
    if is_checkpoint:
        digests.setdefault(old.sender, old.writer_digest or b"")
    if signer not in keys:
        return old
    head = heads[min(old.messages, len(heads) - 1)]
    data = statement(agreement, digests[old.sender], old.sender, old.phase, old.round, old.messages, head)
    writer_digest = digests[old.sender] if is_checkpoint else None
    return old._replace(head=head, writer_digest=writer_digest, signature=keys[signer].sign(data))


def key_of(*senders: Sender) -> dict[Sender, Identity]:
    """Keys of these parties."""
    return {sender: identity(sender.role) for sender in senders}


def kinds(report: AuditReport) -> set[str]:
    """What kinds of findings a report has, notes left out."""
    return {finding.kind for finding in report.findings if finding.severity is not Severity.NOTE}
