r"""The lines of a transcript, written and read. What they mean, for a second reader: docs/transcript-format.md.

secure-hfl-transcript 2                                       each line ends in a space and a check value:
agreed {...}                                                  the first 16 hex digits of the hash over all lines
own {...}                                                     so far, running_n = SHA-256(running_{n-1} || text_n)
seal SIGNATURE
e h 17 Projection 5 1 3 262411 0 TAG DIGEST                   sender sequence type phase round batch length recorded
checkpoint h 5 1 17 HEAD RECORD SIGNATURE                     a signed head: sender phase round count
countersignature h 5 1 17 HEAD SIGNATURE                      the same head, signed by who has received it
x h 18 Abort ...                                              an Abort that overtook what was not yet received
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.transcript.errors import MalformedTranscript

HEADER = b"secure-hfl-transcript 2"
MAX_LINE = 1 << 18
"""Bytes of a line; only that of what was agreed on can be long."""

CHECK_DIGITS = 16
TAG_BYTES = 64
"""A fresh message's tag is over so many bytes at its end, where every ciphertext and mask has its payload. That of a
Hello, which ends in what may come again, is over its nonce."""

NONE = b"-"


class Entry(NamedTuple):
    """One message.

    Attributes:
        overtook: it is an Abort that was seen before messages sent earlier, and is not in the chain.
        sequence, phase, round, batch: where it was sent.
        length, digest: of its wire bytes.
        recorded: the counts and sizes that it announces (`protocols.core.wire_format`).
        tag: of its fresh bytes, or `NONE`.
    """

    overtook: bool
    sender: Sender
    sequence: int
    type: str
    phase: int
    round: int
    batch: int
    length: int
    recorded: tuple[int, ...]
    tag: bytes
    digest: bytes

    def __str__(self) -> str:
        sender = say(self.sender.role)
        return say("{sender} message {sequence} ({type})", sender=sender, sequence=self.sequence, type=self.type)


class SignedHead(NamedTuple):
    """The head of a sender's chain, signed by the sender; or, `writer_digest` None, countersigned by the other party.

    Attributes:
        messages: so many are in the chain there.
        writer_digest: of what the sender's own transcript says of its writer (`WriterInfo.digest`).
    """

    sender: Sender
    phase: int
    round: int
    messages: int
    head: bytes
    writer_digest: bytes | None
    signature: bytes


class Seal(NamedTuple):
    """The writer's signature over all lines before."""

    signature: bytes


class PreambleLine(NamedTuple):
    """One of the lines before the first message: "agreed" or "own", and its JSON."""

    name: str
    json: str


Line = Entry | SignedHead | Seal | PreambleLine

_N = rb"(0|[1-9][0-9]{0,18})"
_HEX = rb"((?:[0-9a-f]{2}){%d})"
_SIGNATURE = rb"((?:[0-9a-f]{2}){8,72})"
_PHASE_ROUND = rb"([1-8]) " + _N
_RECORDED = rb"(-|[0-9]{1,19}(?:,[0-9]{1,19}){0,3})"
_ENTRY_LINE = re.compile(
    rb"([ex]) ([hc]) %b ([A-Za-z]{1,40}) %b %b %b %b (-|[0-9a-f]{16}) ([0-9a-f]{64})"
    % (_N, _PHASE_ROUND, _N, _N, _RECORDED)
)
_SIGNED_HEAD = re.compile(rb"checkpoint ([hc]) %b %b %b %b %b" % (_PHASE_ROUND, _N, _HEX % 32, _HEX % 32, _SIGNATURE))
_COUNTERSIGNATURE = re.compile(rb"countersignature ([hc]) %b %b %b %b" % (_PHASE_ROUND, _N, _HEX % 32, _SIGNATURE))
_SEAL = re.compile(rb"seal %b" % _SIGNATURE)
_SENDERS = {sender.value.encode(): sender for sender in Sender}


def entry_text(
    sender: Sender,
    sequence: int,
    message_type: str,
    place: tuple[int, int, int],
    length: int,
    recorded: tuple[int, ...],
    tag: str,
    digest: str,
) -> bytes:
    """An entry's text, which the chain hashes. `place`: phase, round, batch."""
    phase, round_number, batch = place
    shown = ",".join(map(str, recorded)) if recorded else "-"
    where = f"{phase} {round_number} {batch}"
    return f"e {sender.value} {sequence} {message_type} {where} {length} {shown} {tag or '-'} {digest}".encode()


def signed_head_text(signed: SignedHead) -> bytes:
    """The text of the line of a signed or countersigned head."""
    sender, phase, round_number, count, head, writer_digest, signature = signed
    name = "countersignature" if writer_digest is None else "checkpoint"
    shown = "" if writer_digest is None else f" {writer_digest.hex()}"
    fields = f"{sender.value} {phase} {round_number} {count} {head.hex()}{shown} {signature.hex()}"
    return f"{name} {fields}".encode()


def parse(text: bytes, line: int) -> Line:
    """What one line says. Raises `MalformedTranscript`."""
    match = _ENTRY_LINE.fullmatch(text)
    if match is not None:
        first, sender, sequence, name, phase, number, batch, length, recorded, tag, digest = match.groups()
        return Entry(
            first == b"x",
            _SENDERS[sender],
            int(sequence),
            name.decode(),
            int(phase),
            int(number),
            int(batch),
            int(length),
            _numbers(recorded),
            tag,
            digest,
        )
    return _parse_other(text, line)


@lru_cache(4096)
def _numbers(text: bytes) -> tuple[int, ...]:
    return () if text == NONE else tuple(map(int, text.split(b",")))


def _parse_other(text: bytes, line: int) -> Line:
    if match := _SIGNED_HEAD.fullmatch(text) or _COUNTERSIGNATURE.fullmatch(text):
        sender, phase, number, count, *rest = match.groups()
        head, *writer_digest, signature = (bytes.fromhex(value.decode()) for value in rest)
        counted = _SENDERS[sender], int(phase), int(number), int(count)
        return SignedHead(*counted, head, writer_digest[0] if writer_digest else None, signature)
    if match := _SEAL.fullmatch(text):
        return Seal(bytes.fromhex(match[1].decode()))
    name, _, value = text.partition(b" ")
    if name in (b"agreed", b"own") and value.isascii():
        return PreambleLine(name.decode(), value.decode())
    raise MalformedTranscript("a line that is none of this format's", "see docs/transcript-format.md", line=line)


class RunningHash:
    """The hash over all lines, of which each line shows the beginning."""

    def __init__(self) -> None:
        self.value = bytes(32)
        self.lines = 0

    def write(self, text: bytes) -> bytes:
        """The next line."""
        self.value = sha256(self.value + text).digest()
        self.lines += 1
        return b"%b %b\n" % (text, self.value.hex()[:CHECK_DIGITS].encode())

    def read(self, line: bytes) -> bytes:
        """The text of the next line.

        Raises:
            MalformedTranscript: the line is too long, has no end, or it or one before was changed.
        """
        number = self.lines + 1
        text, _, check = line[:-1].rpartition(b" ")
        if line[-1:] != b"\n" or len(line) > MAX_LINE:
            raise MalformedTranscript(
                "a line that is too long, or has no end", say("{most} bytes at most", most=MAX_LINE), line=number
            )
        value = sha256(self.value + text).digest()
        expected = value.hex()[:CHECK_DIGITS].encode()
        if not compare_digest(check, expected):
            raise MalformedTranscript(
                "the check value does not fit the lines up to here",
                say("{digits} at its end", digits=expected.decode()),
                line=number,
            )
        self.value = value
        self.lines = number
        return text


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, their ends included, out of pieces of a file; the last may have no end. Memory is bounded by `MAX_LINE`.

    A longer line comes out cut, and is refused by `RunningHash.read`.
    """
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > MAX_LINE:
            yield rest
            return
    if rest:
        yield rest
