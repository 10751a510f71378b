"""Every fuzz target over its seeds and over edits that Hypothesis chooses; and what fuzzing has found, in short."""

from __future__ import annotations

import base64
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.harness.known_messages import known_catalogue
from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.psi.messages import PsiResult
from protocols.schemes.plain.messages import PlainFeatures
from protocols.transcript.auditor import audit
from protocols.transcript.format import lines_of
from protocols.transcript.preamble import WriterInfo
from protocols.wire.codec import decode
from protocols.wire.frames import Assembler, cut
from protocols.wire.varint import LENGTH, VARINT, write_tag
from secure_hfl.errors import IdentityError, InvalidInvite
from secure_hfl.identity import TLS_NAME, check_certificate
from secure_hfl.tasks import Invite
from tests.fuzz import corpus
from tests.fuzz.formats import read_der, write_json, write_protobuf
from tests.fuzz.recipe import Tree, copied
from tests.fuzz.targets import TARGETS, seeds

EDITS = {"channel": 150, "certificate": 200, "psi": 100, "bfv": 80, "encrypted_roles": 50, "kernel": 60}
EDITS |= {"transcript": 50, "paillier": 25, "masked_roles": 40}
"""How many to try where one takes a millisecond or more."""


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target, edits = TARGETS[name], EDITS.get(name, 400)
    for seed in list(seeds(name))[:: max(1, 400 // edits)]:
        target(seed)

    @settings(max_examples=edits, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=1, max_size=48))
    def edited(recipe: bytes) -> None:
        target(recipe)

    edited()


# Found by fuzzing, and mended -----------------------------------------------------------------------------------------


def certificate_with(change: Any) -> bytes:
    """A party's certificate with other extensions, validly signed by its own key."""
    tree = copied(corpus.certificate_tree())
    change(tree[0][1][0][1][-1][1][0][1])
    der = corpus.signed_certificate(tree)
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def twice(extensions: Tree) -> None:
    extensions.append(copied(extensions[0]))


def x400_name(extensions: Tree) -> None:
    (names,) = read_der(b"\x30\x04\xa3\x02\x05\x00")
    (name,) = [extension for extension in extensions if TLS_NAME.encode() in str(extension).encode()]
    name[1][-1] = [4, [names]]


@pytest.mark.parametrize("change", [twice, x400_name])
def test_a_certificate_with_extensions_that_cannot_be_read(change: Any) -> None:
    assert check_certificate(certificate_with(lambda extensions: None)).name == "party"
    with pytest.raises(IdentityError, match="not a self-signed one that secure-hfl makes"):
        check_certificate(certificate_with(change))


@pytest.mark.parametrize("writer", [{}, [], [{}], None, 1, True])
def test_a_transcript_whose_writer_is_no_text(writer: Any) -> None:
    tree = copied(corpus.transcript_trees()[0])
    tree[2][1]["writer"] = writer
    with pytest.raises(InvalidInput, match="writer"):
        WriterInfo.parse(write_json(tree[2][1], sort_keys=True, separators=(",", ":")).decode())
    report = audit(lines_of([corpus.resealed(corpus.transcript_texts(tree), with_keys=True)]))
    assert report.findings[0].kind == "MalformedTranscript"


def test_an_invite_does_not_write_to_the_terminal() -> None:
    tree = corpus.invite_tree() | {"\x1b[2J\n": 1}
    with pytest.raises(InvalidInvite, match=r"\\x1b\[2J\\n: Extra inputs") as caught:
        Invite.parse(write_json(tree))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("empty", [{"n": 1, "t": 0, "v": 0}, {"n": 2, "t": 2, "v": b""}])
def test_a_frame_has_one_spelling(empty: Tree) -> None:
    fields = [{"n": 1, "t": 0, "v": 3}, {"n": 2, "t": 2, "v": b"abc"}]
    assert write_protobuf(fields) == b"".join(cut(b"abc"))
    with pytest.raises(MalformedMessage, match="empty field"):
        Assembler(100).add(write_protobuf(sorted([empty, *fields], key=lambda field: field["n"])))


def peak_of(data: bytes) -> int:
    """Most bytes that decoding an envelope takes at a time."""
    tracemalloc.start()
    try:
        decode(data, known_catalogue())
    except MalformedMessage:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def envelope_of(kind: type, *fields: Tree) -> bytes:
    """An envelope with this body."""
    number = known_catalogue().plans[kind].number
    return write_protobuf([{"n": 2, "t": 0, "v": 2}, {"n": number, "t": 2, "v": list(fields)}])


def test_a_small_tensor_does_not_become_a_large_object() -> None:
    fields = b"".join(write_tag(number, VARINT) + b"\1" for number in range(4, 50_000))
    assert peak_of(envelope_of(PlainFeatures, {"n": 1, "t": LENGTH, "v": fields})) < 1 << 17


def test_a_result_of_psi_is_counted_in_place() -> None:
    matches = b"\xff" * (1 << 20)
    count = len(matches) * 8
    data = envelope_of(PsiResult, {"n": 1, "t": 2, "v": matches}, {"n": 2, "t": 0, "v": count})
    assert decode(data, known_catalogue()).message == PsiResult(matches, count)
    assert peak_of(data) < 3 * len(matches)
