"""What is fuzzed: one function for each parser of bytes of others. It takes any bytes, and raises only on a bug.

The first byte says how the rest is read: 0, as the bytes that a peer sends; else as a recipe of edits to valid ones
(`tests.fuzz.recipe`). What is not a bug is named in each target: the errors that the real caller expects there. Their
texts must be printable, because they are logged and shown in terminals.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.harness.known_messages import known_catalogue
from benchmarks.harness.pump import identity
from protocols.core.errors import CallOutOfOrder, InvalidInput, MalformedMessage, PeerViolation, VerificationFailed
from protocols.core.sender import Sender
from protocols.task.abort import Abort
from protocols.transcript.auditor import audit
from protocols.transcript.certificates import Certificate
from protocols.transcript.format import lines_of
from protocols.transcript.recorder import TranscriptRecorder
from protocols.wire.codec import decode, encode, peek
from protocols.wire.frames import END_FRAME, Assembler, cut
from secure_hfl.errors import IdentityError, InvalidInvite, TransportError
from secure_hfl.identity import check_certificate, fingerprint_of, verify
from secure_hfl.tasks import Invite
from secure_hfl.transport import secure_hfl_pb2
from secure_hfl.transport.channel import Channel, ChannelLimits
from secure_hfl.transport.traffic import Direction
from tests.fuzz import ciphertexts, conversations, corpus, kernel
from tests.fuzz.allowed import refused
from tests.fuzz.formats import octets, write_json, write_protobuf
from tests.fuzz.recipe import Recipe, Tree, alter, copied
from tests.protocols.transcript.recorded_runs import transcripts

Target = Callable[[bytes], None]


def _edited(recipe: Recipe, bases: Sequence[Tree]) -> Tree:
    return alter(copied(recipe.pick(bases)), recipe)


# Transport ------------------------------------------------------------------------------------------------------------

_CATALOGUE = known_catalogue()
MAX_FRAMES = 16
_LIMITS = ChannelLimits(message_bytes=1 << 20, inbound_bytes=1 << 30)


def codec(data: bytes) -> None:
    """An envelope: refused, or exactly the bytes that we and the protobuf library would write for it."""
    recipe = Recipe(data)
    data = write_protobuf(_edited(recipe, corpus.envelope_trees())) if recipe.below(2) else recipe.rest()
    kind = peek(data, _CATALOGUE)
    with refused(MalformedMessage):
        envelope = decode(data, _CATALOGUE)
        assert type(envelope.message) is kind
        assert encode(envelope, _CATALOGUE) == data
        assert secure_hfl_pb2.Envelope.FromString(data).SerializeToString(deterministic=True) == data


_FIRST, _FULL, _LAST = ([{"n": 2, "t": 2, "v": {"zeros": size}}] for size in (1 << 19, 1 << 19, 7))
_FRAMES: list[Tree] = [
    [[{"n": 1, "t": 0, "v": 3}, {"n": 2, "t": 2, "v": b"abc"}], [{"n": 3, "t": 0, "v": 1}]],
    [[{"n": 1, "t": 0, "v": (2 << 18) + 7}, *_FIRST], _FULL, _LAST, [{"n": 3, "t": 0, "v": 1}]],
    [[{"n": 1, "t": 0, "v": 1 << 19}, *_FIRST], [{"n": 1, "t": 0, "v": 1}, {"n": 2, "t": 2, "v": b"a"}]],
]


def _frames(recipe: Recipe) -> list[bytes]:
    """A stream's frames. As raw bytes: one behind the other, each after its length in two bytes."""
    if recipe.below(2):
        tree = _edited(recipe, _FRAMES)
        return [write_protobuf(frame) for frame in (tree[:MAX_FRAMES] if isinstance(tree, list) else [])]
    frames = []
    while not recipe.is_over():
        frames.append(recipe.take(int.from_bytes(recipe.take(2), "little")))
    return frames


def frames(data: bytes) -> None:
    """A stream of frames: messages come out whole, and only of the frames that we would cut them into."""
    assembler, seen = Assembler(1 << 20), list[bytes]()
    for frame in _frames(Recipe(data)):
        with refused(PeerViolation) as outcome:
            message = assembler.add(frame)
        if outcome.error is not None:
            return
        seen.append(frame)
        if message is not None:
            assert seen == list(cut(bytes(message)))
            seen.clear()
        elif assembler.ended:
            assert seen == [END_FRAME]


def channel(data: bytes) -> None:
    """Everything between a stream and a role: frames, order, Abort, and the transcript of it, which can be audited."""
    recipe = Recipe(data)
    own = recipe.pick(list(Sender))
    if recipe.below(4):
        tree = alter(copied(corpus.stream_tree(own.other)), recipe)
        messages = [write_protobuf(each) for each in (tree if isinstance(tree, list) else [])]
        stream = [frame for message in messages for frame in cut(message)]
    else:
        stream = _frames(recipe)
    recorder, lines = _recorder(own), list[bytes]()

    def observe(direction: Direction, envelope: Any, wire: Any) -> None:
        lines.append(recorder.observe(direction is Direction.SENT, envelope, wire))

    conversation = Channel("peer", _CATALOGUE, lambda: None, _LIMITS)
    conversation.observers.append(observe)
    # CallOutOfOrder: this host sends its manifest whatever it has received.
    with refused(TransportError, PeerViolation, CallOutOfOrder):
        observe(Direction.SENT, *corpus.run()[own][0])
        conversation.read_from(iter(stream))
        while True:
            assert type(conversation.receive(0).message) is not Abort
    report = audit(lines_of(lines), names=("own", ""))
    assert "MalformedTranscript" not in {finding.kind for finding in report.findings}, report.findings


def _recorder(own: Sender) -> TranscriptRecorder:
    one, other = (identity(sender.role) for sender in (own, own.other))
    return TranscriptRecorder(own, one.certificate_pem, other.certificate_pem, one.sign, {"python": "3"})


# Files ----------------------------------------------------------------------------------------------------------------


def invite(data: bytes) -> None:
    """An invite file: refused, or the same invite when it is written and read again."""
    recipe = Recipe(data)
    text = write_json(_edited(recipe, [corpus.invite_tree()])) if recipe.below(2) else recipe.rest()
    with refused(InvalidInvite):
        parsed = Invite.parse(text, "invite.json")
        assert Invite.parse(parsed.model_dump_json().encode()) == parsed


def certificate(data: bytes) -> None:
    """A certificate: what `check_certificate` accepts, a transcript accepts too, under the same fingerprint."""
    recipe = Recipe(data)
    how = recipe.below(4)
    if how == 0:
        pem = recipe.rest()
    else:
        tree = _edited(recipe, [corpus.certificate_tree()])
        der = corpus.signed_certificate(tree) if how > 1 else octets(corpus.write_der(tree))
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
    with refused(IdentityError) as outcome:
        accepted = check_certificate(pem)
    with refused(InvalidInput):
        assert Certificate(pem).fingerprint
    if outcome.error is None:
        assert Certificate(pem).fingerprint.upper() == accepted.fingerprint.replace(":", "")
    with refused(IdentityError):
        fingerprint_of(pem)
    with refused(IdentityError, VerificationFailed):
        verify(pem, b"data", recipe.take(72))


def transcript(data: bytes) -> None:
    """A transcript, alone and against the other end's: whatever is wrong with it is a finding and not an exception."""
    recipe = Recipe(data)
    how = recipe.below(4)
    if how == 0:
        file, case = recipe.rest(), corpus.TRANSCRIPTS[0]
    else:
        at = recipe.below(len(corpus.TRANSCRIPTS))
        case = corpus.TRANSCRIPTS[at]
        tree = copied(corpus.transcript_trees()[at])
        if recipe.below(2):
            preamble = alter(tree[1:3], recipe)  # what was agreed on, and what the writer says of itself
            tree[1:3] = preamble if isinstance(preamble, list) else []
        else:
            tree = alter(tree, recipe)
        file = corpus.resealed(corpus.transcript_texts(tree), with_keys=how > 1)
    other = lines_of([transcripts(case)[1]]) if how == 3 else None
    size = recipe.pick((1 << 16, 1 << 12, 1000, 7))
    chunks = [file[start : start + size] for start in range(0, len(file), size)]
    report = audit(lines_of(chunks), other, trusted=("AB:CD",))
    for finding in report.findings:
        assert str(finding).isprintable(), finding


_OWN = (codec, frames, channel, invite, certificate, transcript)
TARGETS: dict[str, Target] = {
    target.__name__: target for target in (*_OWN, *ciphertexts.TARGETS, *kernel.TARGETS, *conversations.TARGETS)
}


def seeds(name: str) -> Iterator[bytes]:
    """Inputs to start from: no edit, a few kinds of edit, and valid bytes as they are."""
    for how in range(1, 4):
        for base in range(48):
            yield bytes((how, base))
            yield bytes((how, base, 3, 0, 5))
    raw = {
        "codec": corpus.envelopes(),
        "invite": (corpus.invite(),),
        "certificate": (identity("host").certificate_pem,),
    }
    yield from (b"\0" + valid for valid in raw.get(name, ()))
    if name == "transcript":
        yield from (b"\0" + transcripts(case)[0] for case in corpus.TRANSCRIPTS)
    if name in ("frames", "channel"):
        yield b"\0" + b"".join(len(f).to_bytes(2, "little") + f for w in corpus.envelopes()[:3] for f in cut(w))
