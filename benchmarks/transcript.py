"""Transcripts step by step: recording a message, the bytes of an entry, and how fast they are audited.

    python -m benchmarks.transcript                             synthetic transcripts of 10,000 and 100,000 messages
    python -m benchmarks.transcript --entries 1000000           other sizes
    python -m benchmarks.transcript --schemes bfv masked plain  also the demo's task, five rounds between processes

The synthetic transcripts are legal from end to end: a task in the order and with the sizes of scheme "paillier" for 1
x 1 features, with real signatures, and over random bytes instead of ciphertexts: the scheme's own roles would spend
minutes on the products of a long task, and a transcript has nothing of them but their digests and lengths. An entry
is a message's line; a batch has seven. Recording is what one party pays for one message: its digest, the chain, the
line, and handing it to the operating system (`secure_hfl.transcript`). Bytes are the files'; notes have the bytes of
a batch and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import deque
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.harness.pump import pinned
from benchmarks.step_timings import Benchmark, StepTimings
from protocols.core.envelope import Envelope, Phase
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.sizes import TaskSizes
from protocols.core.steps import Receive, Send
from protocols.core.wire_format import recorded_of, wire_format
from protocols.he.paillier_parameters import PARAMETER_SETS
from protocols.layer.messages import FeatureShape, InitialFactor, InitialShare, ProjectionKey, SecretsCommitment
from protocols.layer.parameters import LayerParameters
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.schemes.encrypted import messages as encrypted
from protocols.schemes.registry import registered_scheme
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.task.agreement import HostPlan, make_manifest
from protocols.task.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.task.manifest import PROTOCOL_VERSION, Hello, Manifest, ManifestAccepted
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.certificates import Certificate
from protocols.transcript.format import TAG_BYTES
from protocols.transcript.preamble import AgreedTerms
from protocols.transcript.recorder import TranscriptRecorder
from protocols.transcript.signing import exchange_signed_heads
from protocols.wire.sizes import body, header
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.audit.page import page
from secure_hfl.identity import Identity
from secure_hfl.metrics import peak_rss_mb
from secure_hfl.transcript import Transcript
from secure_hfl.transport.traffic import Direction

H, C = Sender.HOST, Sender.COLLABORATOR
BATCHES = 100
"""Batches in a round of a synthetic task."""

PER_BATCH = 7
PARTS = (b"x",)  # stands for ciphertexts: what is recorded of them comes from the wire bytes


def _commitment() -> SecretsCommitment:
    return SecretsCommitment(os.urandom(32), os.urandom(32))


class SyntheticTask:
    """Both ends' transcripts of a task that never was.

    Args:
        directory: for the two files, host.transcript and patient.transcript.
    """

    def __init__(self, directory: Path) -> None:
        self.identities = {sender: Identity.create(sender.role) for sender in Sender}
        pem = {sender: self.identities[sender].certificate_pem for sender in Sender}
        self._recorders = {
            sender: TranscriptRecorder(sender, pem[sender], pem[sender.other], self.identities[sender].sign, {})
            for sender in Sender
        }
        self.paths = {H: directory / "host.transcript", C: directory / "patient.transcript"}
        self._files = {sender: path.open("wb") for sender, path in self.paths.items()}
        self._sequences = dict.fromkeys(Sender, 0)
        self._inboxes: dict[Sender, deque[tuple[Envelope, bytes]]] = {sender: deque() for sender in Sender}
        self._place = (Phase.JOIN, 0, 0)
        hello, self._manifest = agreement()
        agreed = AgreedTerms.of(self._manifest, "patient", b"", Certificate(pem[H]), Certificate(pem[C]))
        scheme = registered_scheme(agreed.scheme)
        self._sizes = TaskSizes(agreed, scheme.sizes(agreed.scheme_parameters))
        self._hello = hello

    def run(self, messages: int) -> None:
        """A whole task with about so many messages."""
        self._start()
        rounds = max(1, round(messages / (BATCHES * PER_BATCH)))
        version = 0
        for number in range(1, rounds + 1):
            self._place = (Phase.TRAIN, number, 0)
            self._tell(H, RoundStart(0))
            for batch in range(BATCHES):
                self._place = (Phase.TRAIN, number, batch)
                self._batch(version, is_first=not batch)
                version += 1
            self._place = (Phase.TRAIN, number, BATCHES)
            self._tell(C, EpochEnd(BATCHES))
            self._checkpoint()
        self._place = (Phase.FINISH, 0, 0)
        self._tell(H, TaskFinished(rounds))
        self._tell(C, FinishAcknowledged(rounds))
        self._checkpoint()
        for file in self._files.values():
            file.close()

    def _start(self) -> None:
        session, digest = self._manifest.session, bytes(32)
        self._phase(Phase.JOIN, (C, self._hello), (H, self._manifest), (C, ManifestAccepted(digest)))
        self._phase(
            Phase.PSI,
            *((sender, PsiOpen(8, 8, session)) for sender in Sender),
            *((sender, PsiPoints(0, bytes(256))) for sender in Sender),
            (C, PsiDigests(0, bytes(128))),
            (H, PsiResult(b"\xff", 8)),
        )
        split = SplitDigest(8, digest, digest, 0, digest, digest)
        self._phase(Phase.ALIGN, (C, split), (H, split))
        self._phase(
            Phase.SETUP,
            (C, FeatureShape(1, 1)),
            (H, _commitment()),
            (C, _commitment()),
            (H, ProjectionKey(b"x")),
            (C, ProjectionKey(b"x")),
            (C, InitialFactor(0, PARTS)),
            (H, InitialShare(0, PARTS)),
            (H, HostShare(0, PARTS)),
            (C, CollaboratorShare(0, PARTS)),
        )

    def _phase(self, phase: Phase, *told: tuple[Sender, Message]) -> None:
        self._place = (phase, 0, 0)
        for sender, message in told:
            self._tell(sender, message)
        self._checkpoint()

    def _batch(self, version: int, is_first: bool) -> None:
        self._tell(C, BatchOpen(1, b""))
        if is_first:
            self._tell(H, _commitment())
            self._tell(C, _commitment())
        self._tell(C, encrypted.Projection(version, PARTS))
        self._tell(H, encrypted.StepGradient(version, PARTS))
        self._tell(H, encrypted.FeatureGradient(version, 0, PARTS))
        self._tell(C, encrypted.WeightGradient(version, PARTS))
        self._tell(H, HostShare(version + 1, PARTS))
        self._tell(C, CollaboratorShare(version + 1, PARTS))

    def _tell(self, sender: Sender, message: Message) -> None:
        self._send(sender, message)
        self._receive(sender.other)

    def _send(self, sender: Sender, message: Message) -> None:
        envelope = Envelope(self._sequences[sender], *self._place, message)
        self._sequences[sender] += 1
        kind = type(message)
        declared, recorded = wire_format(kind), recorded_of(message)
        self._sizes.note(sender, kind, recorded)
        bounds = None if declared.bounds is None else declared.bounds(self._sizes, sender, recorded)
        if bounds is None:
            raise RuntimeError(f"the size of {kind.__name__} cannot be told")
        data = wire_bytes(header(envelope.sequence, *map(int, self._place)) + body(bounds[0]))
        self._files[sender].write(self._recorders[sender].observe(True, envelope, data))
        self._inboxes[sender.other].append((envelope, data))

    def _receive(self, receiver: Sender) -> Message:
        envelope, data = self._inboxes[receiver].popleft()
        self._files[receiver].write(self._recorders[receiver].observe(False, envelope, data))
        return envelope.message

    def _checkpoint(self) -> None:
        phase, number, _ = self._place
        steps = {sender: exchange_signed_heads(self._recorders[sender].signer, phase, number) for sender in Sender}
        own = {sender: sent(next(conversation)) for sender, conversation in steps.items()}
        for sender in Sender:
            self._send(sender, own[sender])
            next(steps[sender])
        answers = {sender: sent(steps[sender].send(self._receive(sender))) for sender in Sender}
        for sender in Sender:
            self._send(sender, answers[sender])
            next(steps[sender])
        for sender in Sender:
            try:
                steps[sender].send(self._receive(sender))
            except StopIteration:
                continue
            raise RuntimeError("an exchange of signed heads has four messages")


def sent(step: Send | Receive) -> Message:
    """What a conversation wants to send."""
    if not isinstance(step, Send):
        raise RuntimeError("the conversation does not send here")
    return step.message


def agreement() -> tuple[Hello, Manifest]:
    """How a synthetic task begins."""
    hello = Hello(PROTOCOL_VERSION, "benchmark", "patient", "paillier", True, False, os.urandom(32))
    bounds = json.loads(LayerParameters().canonical())
    parameters = json.dumps({"encryption": next(iter(PARAMETER_SETS)), "layer": bounds})
    known = pinned({"patient": "patient"})
    plan = HostPlan("benchmark", "hospital", "paillier", parameters, False, 30.0, known)
    return hello, make_manifest([hello], plan, [1], OsRandomness())


def wire_bytes(size: int) -> bytes:
    """As many bytes as a message has, with random ones where a fresh message has them."""
    return bytes(max(0, size - TAG_BYTES)) + os.urandom(min(size, TAG_BYTES))


def recording(lines: StepTimings, size: int, count: int, directory: Path) -> None:
    """One party records messages of one size, through the class that the engine uses."""
    host, patient = Identity.create("host"), Identity.create("patient")
    channel: Any = SimpleNamespace(peer=f"patient-{size}", observers=[], settle=lambda: None)
    transcript = Transcript(directory, channel, "host", host, patient.certificate_pem, None)
    (observe,) = channel.observers
    hello, manifest = agreement()
    observe(Direction.RECEIVED, Envelope(0, Phase.JOIN, 0, 0, hello), wire_bytes(200))
    observe(Direction.SENT, Envelope(0, Phase.JOIN, 0, 0, manifest), wire_bytes(200))
    data, message = wire_bytes(size), encrypted.StepGradient(7, PARTS)
    ahead = iter([Envelope(at, Phase.TRAIN, 1, 0, message) for at in range(1, count * (lines.repeats + 1) + 1)])

    def some() -> int:
        before = transcript.path.stat().st_size
        for _ in range(count):
            observe(Direction.SENT, next(ahead), data)
        return transcript.path.stat().st_size - before

    lines.time(f"record {count:,} messages of {size:,} bytes", some, count, "entry", int)
    transcript.close()


def auditing(lines: StepTimings, what: str, paths: tuple[Path, Path], batches: int) -> None:
    """Audit one end, then both."""
    audited = audit_files(*paths, with_timeline=True)
    if audited.verdict is not Verdict.HOLDS:
        raise RuntimeError(f"{what}: {audited.report.findings[:3]}")
    entries = audited.report.files[0].messages
    sizes = [path.stat().st_size for path in paths]
    for ends, name in ((1, "one end"), (2, "both ends")):
        audit = partial(audit_files, paths[0], paths[1] if ends == 2 else None)
        lines.time(f"{what}: audit {name}", audit, entries * ends, "entry", sum(sizes[:ends]))
    lines.time(f"{what}: make the page", lambda: page(audited), entries, "entry", lambda made: len(made.encode()))
    lines.notes[what] = {
        "bytes a batch, one end": round(sizes[0] / batches),
        "peak MB so far": round(peak_rss_mb()),
    }


def demo(lines: StepTimings, scheme: str, rounds: int, directory: Path) -> None:
    """The demo's task between real processes, then the audit of its transcripts."""
    from secure_hfl.demo.report import report
    from secure_hfl.examples.catalogue import mnist_halves
    from secure_hfl.local_parties import LocalParties, RunSettings

    run = LocalParties(mnist_halves().scripts, RunSettings(scheme, rounds), directory)
    run.prepare()
    deque(run.run(), maxlen=0)
    batches = sum(each["batches"] for each in report(run)["rounds"])
    auditing(lines, f"{scheme}, {rounds} rounds", run.transcripts()[0], batches)


def measure(lines: StepTimings, options: argparse.Namespace) -> None:
    """All lines."""
    counts = ((100, 20), (1000, 20)) if options.quick else ((100, 20_000), (300_000, 500))
    with tempfile.TemporaryDirectory(prefix="secure-hfl-benchmark-") as name:
        directory = Path(name)
        for size, count in counts:
            recording(lines, size, count, directory / "recorded")
        for entries in [BATCHES * PER_BATCH] if options.quick else options.entries:
            task = SyntheticTask(directory)
            task.run(entries)
            batches = max(1, round(entries / (BATCHES * PER_BATCH))) * BATCHES
            auditing(lines, f"synthetic {entries:,}", (task.paths[H], task.paths[C]), batches)
        for scheme in options.schemes:
            home = directory / scheme
            home.mkdir(mode=0o700)
            demo(lines, scheme, options.rounds, home)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes, and the demo's runs."""
    parser.add_argument("--entries", nargs="*", type=int, default=[10_000, 100_000], help="of synthetic transcripts")
    parser.add_argument("--schemes", nargs="*", default=[], help="also run the demo with these")
    parser.add_argument("--rounds", type=int, default=5, help="of the demo")


BENCHMARK = Benchmark("transcript", __doc__, measure, arguments, repeats=3)

if __name__ == "__main__":
    BENCHMARK.main()
