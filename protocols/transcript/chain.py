"""The hash chains of a transcript: one for each pair of parties and direction, over the exact wire bytes.

    head_0     = SHA-256("secure-hfl transcript v2: chain\n" || agreement || sender)
    head_{n+1} = SHA-256("secure-hfl transcript v2: entry\n" || head_n || entry_n)

`agreement` (`AgreedTerms.digest`) binds the session, both certificates and all other terms; `sender` is one letter;
`entry` is the text of one line of the transcript (format.py): place, type, length and SHA-256 of the message.
Both ends hold the same two chains, whatever crosses in flight.

**Reference** Schneier, Kelsey, Secure Audit Logs to Support Computer Forensics (1999); Haber, Stornetta (1991).
"""

from __future__ import annotations

from hashlib import sha256

from protocols.core.sender import Sender

DOMAIN = b"secure-hfl transcript v2: "
_CHAIN, _ENTRY = DOMAIN + b"chain\n", DOMAIN + b"entry\n"

MAX_RECENT = 1024
"""Heads kept of messages of the offline phase, which may be sent while a head is being signed."""


class Chain:
    """What one party sent to one other, up to now. Constant memory.

    Attributes:
        at: (count, head): replaced at once, so that another thread reads both of the same moment.
        recent: the heads that may be signed now, by count: that after the last message which was not of the offline
            phase, and those after what has followed it.
    """

    def __init__(self, agreement: bytes, sender: Sender) -> None:
        head = sha256(_CHAIN + agreement + sender.value.encode()).digest()
        self.at = (0, head)
        self.recent = {0: head}

    def append(self, entry: bytes, is_offline: bool) -> None:
        """One more message."""
        count, head = self.at
        count, head = count + 1, sha256(_ENTRY + head + entry).digest()
        self.at = (count, head)
        if not is_offline:
            self.recent.clear()
        elif len(self.recent) >= MAX_RECENT:
            del self.recent[next(iter(self.recent))]
        self.recent[count] = head


def statement(
    agreement: bytes, writer_digest: bytes, sender: Sender, phase: int, round_number: int, count: int, head: bytes
) -> bytes:
    """What is signed of the head of `sender`'s chain, by the sender and by the other party.

    Args:
        agreement: the digest of what was agreed on.
        writer_digest: of what the sender's transcript says of its writer (`WriterInfo.digest`).
        sender, count, head: the chain.
        phase, round_number: where in the task.
    """
    fields = f"{agreement.hex()} {writer_digest.hex()} {sender.value} {phase} {round_number} {count} {head.hex()}"
    return DOMAIN + b"checkpoint\n" + fields.encode()


def seal_data(running: bytes) -> bytes:
    """What the writer of a transcript signs of its file: the hash over all lines so far."""
    return DOMAIN + b"seal\n" + running


def digest_of(what: str, text: bytes) -> bytes:
    """SHA-256 of a line's text, told apart by what it is."""
    return sha256(DOMAIN + what.encode() + b"\n" + text).digest()
