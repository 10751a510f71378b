"""A second verifier of transcripts, written from protocols/README.md; shares no code with the project.

    python tests/vectors/verify_transcript.py FILE... [-- FILE OF THE OTHER END...]

Format, check values, chains, signatures, tags, seams of an interrupted run, both ends, the end. Not the order and sizes
of messages.
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

V2 = b"secure-hfl transcript v2: "
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
    """One file. `chains[s]` are the texts of a sender's messages; raises Invalid unless all of it holds.

    One that `goes_on` in another may end anywhere, also in the middle of a line. `tags`: of the files before.
    """

    def __init__(self, data: bytes, goes_on: bool, tags: set[str]) -> None:
        self.running, self.number = bytes(32), 0
        self.chains: dict[str, list[str]] = {"h": [], "c": []}
        self.tags = tags
        self.heads: dict[str, list[bytes]] = {}
        self.open: dict[str, list[str]] = {}
        self.records: dict[str, str] = {}
        self.ended: set[str] = set()
        self.phases: set[str] = set()
        self.owed, kind = "", ""
        *lines, rest = data.split(b"\n")
        need(not rest or goes_on, "the last line has no end")
        for line in lines:
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
        need(goes_on or (self.ended == {"h", "c"} and kind == "seal"), "the end is missing")
        need(self.number >= 4, "the beginning is missing")

    def begin(self, kind: str, text: str) -> None:
        need(kind == ("secure-hfl-transcript", "agreed", "own", "seal")[self.number - 1], f"line {self.number}: kind")
        body = text.partition(" ")[2]
        if self.number == 1:
            need(body == "2", "another version")
        elif self.number == 2:
            self.agreed, self.agreement = json.loads(body), sha(V2, b"agreed\n", body.encode())
            self.heads = {s: [sha(V2, b"chain\n", self.agreement, s.encode())] for s in "hc"}
            pems = {s: self.agreed[f"{ROLES[s]}_certificate"].encode() for s in "hc"}
            self.keys = {s: x509.load_pem_x509_certificate(pems[s]).public_key() for s in "hc"}
            need(pems["h"] != pems["c"], "one certificate for both")
        elif self.number == 3:
            self.own = json.loads(body)
            self.writer = self.own["writer"][0]
            self.peer = "hc".replace(self.writer, "")
            self.records[self.writer] = sha(V2, b"own\n", body.encode()).hex()

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
            self.verify(self.writer, V2 + b"seal\n" + before, fields[1])
            return
        sender, sequence, tag = fields[1], int(fields[2]), fields[9]
        need(tag == "-" or tag not in self.tags, f"line {self.number}: used before")
        self.tags.add(tag)
        self.phases.add(fields[4])
        if kind == "x":
            need(fields[3] == "Abort" and sender != self.writer, f"line {self.number}: not an Abort received")
            return
        need(sequence == len(self.chains[sender]), f"line {self.number}: sequence")
        self.chains[sender].append(text)
        self.heads[sender].append(sha(V2, b"entry\n", self.heads[sender][-1], text.encode()))
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
        self.verify(signer, V2 + b"checkpoint\n" + data.encode(), fields[-1])

    def seam(self, s: str) -> bytes:
        """What a party said of its file of the conversation before; empty if there was none."""
        return bytes.fromhex(self.agreed[f"{ROLES[s]}_seam"])

    def position(self) -> bytes:
        """What the writer has to say of this one."""
        ends = ((len(self.chains[s]), self.heads[s][-1]) for s in (self.writer, self.peer))
        return self.agreement + b"".join(count.to_bytes(8, "big") + head for count, head in ends)

    def unanswered(self) -> bool:
        """Nothing shows that the peer has seen the manifest."""
        fields = [(s, *text.split(" ")[3:5]) for s in "hc" for text in self.chains[s]]
        return all(phase == "1" and (s == self.writer or kind in ("Hello", "Abort")) for s, kind, phase in fields)

    def keeps_terms(self, run: Transcript) -> bool:
        """Whether its terms are those of the run; if not, nothing but the agreement may be in it: it was refused."""
        may_differ = {"manifest_digest", "session_tag", "resumed_from", "resumed_at", "host_seam", "collaborator_seam"}
        names = sorted((run.agreed.keys() | self.agreed.keys()) - may_differ)
        changed = [name for name in names if run.agreed.get(name) != self.agreed.get(name)]
        changed += [name for name in ("writer", "seed_commitment") if run.own[name] != self.own[name]]
        need(not changed or self.phases <= {"1"}, f"another {', '.join(changed)} than before")
        return not changed

    def follows(self, before: Transcript, elsewhere: set[bytes]) -> None:
        """`elsewhere`: unanswered conversations of the other end, of which this end knows nothing."""
        need(before.agreed["session_tag"] != self.agreed["session_tag"], "the same session")
        need(self.seam(self.writer) == before.position(), "it goes on from something else than the file before")
        peer = self.seam(self.peer)
        if peer[:32] != before.agreement:
            unseen = peer == before.seam(self.peer) and before.unanswered()
            need(unseen or peer[:32] in elsewhere, "the peer goes on from something else")
            return
        sent, received = int.from_bytes(peer[32:40], "big"), int.from_bytes(peer[72:80], "big")
        has, heads = len(before.chains[self.peer]), before.heads
        need(sent > has or (sent == has and heads[self.peer][sent] == peer[40:72]), "the peer has sent less or else")
        need(received < len(heads[self.writer]), "the peer has received more than was sent")
        need(heads[self.writer][received] == peer[80:], "the peer has received something else")


def one_end(files: list[bytes], elsewhere: set[bytes]) -> list[Transcript]:
    """One end's transcripts, in order."""
    out: list[Transcript] = []
    agreed: list[Transcript] = []
    tags: set[str] = set()
    for number, data in enumerate(files, 1):
        out.append(Transcript(data, number < len(files), tags))
        if number > 1:
            out[-1].follows(out[-2], elsewhere)
        if number == 1 or out[-1].keeps_terms(agreed[-1]):
            agreed.append(out[-1])
    need(not out[0].seam(out[0].writer) and not out[0].agreed["resumed_at"], "a conversation before is missing")
    return out


def verify(files: list[bytes], others: list[bytes] | None = None) -> None:
    """Raise Invalid unless one end's files hold, or both ends' hold and are the two ends of one run."""
    if others is None:
        one_end(files, set())
        return
    # Only the host can have a conversation of which the other end knows nothing.
    by_host, by_other = (files, others) if is_host(files[0]) else (others, files)
    host = one_end(by_host, set())
    collaborator = one_end(by_other, {each.agreement for each in host if each.unanswered()})
    need((host[0].writer, collaborator[0].writer) == ("h", "c"), "not the two ends of one run")
    known = {each.agreement: each for each in collaborator}
    for one in host:
        other = known.pop(one.agreement, None)
        if other is None:
            need(one.unanswered(), "a conversation is missing at the other end")
            continue
        for s, sender, receiver in (("h", one, other), ("c", other, one)):
            sent, received = sender.chains[s], receiver.chains[s]
            goes_on = one is not host[-1] and other is not collaborator[-1]
            need(sent[: len(received)] == received and (goes_on or sent == received), "the two ends disagree")
        records = {**one.records, **other.records}
        need({**other.records, **one.records} == records, "the two ends disagree about themselves")
    need(not known, "a conversation is missing at the host's end")


def is_host(data: bytes) -> bool:
    """Whose file it is."""
    return data.split(b"\n")[2].rpartition(b" ")[0].endswith(b'"writer":"host"}')


if __name__ == "__main__":
    names = sys.argv[1:]
    end = names.index("--") if "--" in names else len(names)
    try:
        ends = [[Path(name).read_bytes() for name in each] for each in (names[:end], names[end + 1 :])]
        verify(ends[0], ends[1] or None)
    except (Invalid, ValueError, KeyError, IndexError) as error:
        sys.exit(f"INVALID: {error}")
    print("valid")
