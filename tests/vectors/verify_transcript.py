"""A second verifier of transcripts, written from protocols/README.md; shares no code with the project.

    python tests/vectors/verify_transcript.py FILE [FILE OF THE OTHER END]

Format, check values, chains, signatures, tags, both ends, the end. Not the order and sizes of messages.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

V1 = b"secure-hfl transcript v1: "
N, SIG, HEX = r"(?:0|[1-9][0-9]{0,18})", r"(?:[0-9a-f]{2}){8,72}", r"[0-9a-f]{64}"
ENTRY = rf"[ex] [hc] {N} [A-Za-z]{{1,40}} [1-8] {N} {N} {N} (?:-|[0-9,]+) (?:-|[0-9a-f]{{16}}) {HEX}"
CHECKPOINT, SEAL = rf"checkpoint [hc] [1-8] {N} {N} {HEX} {HEX} {SIG}", rf"seal {SIG}"
COUNTERSIGNATURE = rf"countersignature [hc] [1-8] {N} {N} {HEX} {SIG}"
LINE = re.compile("|".join((ENTRY, CHECKPOINT, COUNTERSIGNATURE, SEAL)))
ROLES = {"h": "host", "c": "collaborator"}


class Invalid(Exception):
    """What does not hold, and in which line."""


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def need(condition: object, problem: str) -> None:
    if not condition:
        raise Invalid(problem)


class Transcript:
    """One file. `chains[s]` are the texts of a sender's messages; raises Invalid unless all of it holds."""

    def __init__(self, data: bytes) -> None:
        self.running, self.number = bytes(32), 0
        self.chains: dict[str, list[str]] = {"h": [], "c": []}
        self.tags: set[str] = set()
        self.heads: dict[str, list[bytes]] = {}
        self.open: dict[str, list[str]] = {}
        self.records: dict[str, str] = {}
        self.ended: set[str] = set()
        self.owed, kind = "", ""
        need(data.endswith(b"\n"), "the last line has no end")
        for line in data[:-1].split(b"\n"):
            self.number += 1
            content, _, check = line.rpartition(b" ")
            before, self.running = self.running, sha(self.running, content)
            need(self.running.hex()[:16].encode() == check and len(line) < 1 << 18, f"line {self.number}: check value")
            text = content.decode("ascii", "replace")
            kind = text.split(" ")[0]
            if self.number <= 4:
                self.begin(kind, text)
            if self.number >= 4:
                self.take(kind, text, before)
        need(self.ended == {"h", "c"} and kind == "seal", "the end is missing")

    def begin(self, kind: str, text: str) -> None:
        need(kind == ("secure-hfl-transcript", "agreed", "own", "seal")[self.number - 1], f"line {self.number}: kind")
        body = text.partition(" ")[2]
        if self.number == 1:
            need(body == "1", "another version")
        elif self.number == 2:
            self.agreed, self.agreement = body, sha(V1, b"agreed\n", body.encode())
            self.heads = {s: [sha(V1, b"chain\n", self.agreement, s.encode())] for s in "hc"}
            pems = {s: json.loads(body)[f"{ROLES[s]}_certificate"].encode() for s in "hc"}
            self.keys = {s: x509.load_pem_x509_certificate(pems[s]).public_key() for s in "hc"}
            need(pems["h"] != pems["c"], "one certificate for both")
        elif self.number == 3:
            self.writer = json.loads(body)["writer"][0]
            self.records[self.writer] = sha(V1, b"own\n", body.encode()).hex()

    def verify(self, party: str, data: bytes, signature: str) -> None:
        key = self.keys[party]
        need(isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1", "the certificates' keys")
        try:
            key.verify(bytes.fromhex(signature), data, ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, call-arg]
        except InvalidSignature:
            raise Invalid(f"line {self.number}: a signature does not hold") from None

    def take(self, kind: str, text: str, before: bytes) -> None:
        need(LINE.fullmatch(text), f"line {self.number}: format")
        fields = text.split(" ")
        if kind in ("checkpoint", "countersignature"):
            self.signed(kind, fields)
            return
        need(not self.owed, f"line {self.number}: a signature's line is missing")
        if kind == "seal":
            self.verify(self.writer, V1 + b"seal\n" + before, fields[1])
            return
        sender, sequence, tag = fields[1], int(fields[2]), fields[9]
        need(tag == "-" or tag not in self.tags, f"line {self.number}: used before")
        self.tags.add(tag)
        if kind == "x":
            need(fields[3] == "Abort" and sender != self.writer, f"line {self.number}: not an Abort received")
            return
        need(sequence == len(self.chains[sender]), f"line {self.number}: sequence")
        self.chains[sender].append(text)
        self.heads[sender].append(sha(V1, b"entry\n", self.heads[sender][-1], text.encode()))
        if fields[3] in ("Checkpoint", "Countersignature"):
            self.owed = text

    def signed(self, kind: str, fields: list[str]) -> None:
        where = f"line {self.number}: "
        owed, self.owed = self.owed.split(" "), ""
        s, phase, number, count, head = fields[1:6]
        signer = s if kind == "checkpoint" else "hc".replace(s, "")
        need(len(owed) > 1 and [owed[1], owed[3].lower()] == [signer, kind], where + "not announced")
        need(owed[4:6] == [phase, number] and owed[8] == count, where + "another place")
        if kind == "checkpoint":
            sent = len(self.chains[s]) - 1
            need(int(count) <= sent and self.heads[s][int(count)].hex() == head, where + "head")
            between = self.chains[s][int(count) : sent]
            need(all(text.split(" ")[4] == "8" for text in between), where + "messages left out")
            need(self.records.setdefault(s, fields[6]) == fields[6], where + "record")
            self.open[s] = fields[1:6]
        else:
            need(self.open.get(s) == fields[1:6], where + "countersigns something else")
            self.ended |= {s} if phase == "7" else set()
        data = f"{self.agreement.hex()} {self.records[s]} {s} {phase} {number} {count} {head}"
        self.verify(signer, V1 + b"checkpoint\n" + data.encode(), fields[-1])


def verify(*files: bytes) -> None:
    """Raise Invalid unless one file holds, or both hold and are the two ends of one run."""
    ends = [Transcript(data) for data in files]
    if len(ends) == 2:
        one, other = ends
        need(one.agreed == other.agreed and one.writer != other.writer, "not the two ends of one run")
        need(one.records == other.records and one.chains == other.chains, "the two ends disagree")


if __name__ == "__main__":
    try:
        verify(*(Path(name).read_bytes() for name in sys.argv[1:3]))
    except (Invalid, ValueError, KeyError) as error:
        sys.exit(f"INVALID: {error}")
    print("valid")
