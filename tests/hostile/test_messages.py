"""What one hostile message does to a real party: each row is one task, between processes, over mutual TLS.

The attacker runs the honest program up to the row's message, which it then changes (`mutations.py`). The victim must
end the task with one line that names the attacker and an error of ours, tell it nothing private, and serve the next
task. A row without an error is a lie that cannot be noticed: the value is the attacker's own to choose, or as good as
random.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from zlib import crc32

import pytest

from benchmarks.harness.hostile.campaign import HOST, OTHER, Attack, Table, run_table
from benchmarks.harness.parties import Parties

SILENT, PATIENT = 1.0, 20.0
"""Quiet seconds that a party may owe a message, in rows that end with PeerTimeout and in others."""


@dataclass(frozen=True)
class Row:
    """What the attacker does to its first message of a type, and the victim's error."""

    scheme: str
    type: str
    mutation: str
    error: str

    def attack(self, victim: str) -> Attack:
        """As the campaign takes it. The same bits are flipped in every run."""
        seed = crc32(f"{self.type} {self.mutation}".encode())
        owed = SILENT if self.error == "PeerTimeout" else PATIENT
        return Attack(victim, self.scheme, self.type, self.mutation, seed, owed)


TO_HOST = [
    # Another message, another place, none, or several
    Row("plain", "Hello", "next phase", "MessageOutOfOrder"),
    Row("plain", "ManifestAccepted", "other lane", "MessageOutOfOrder"),
    Row("plain", "PsiOpen", "next round", "MessageOutOfOrder"),
    Row("plain", "PsiPoints", "next batch", "MessageOutOfOrder"),
    Row("plain", "PsiDigests", "twice", "MessageOutOfOrder"),
    Row("plain", "FeatureShape", "another type", "MessageOutOfOrder"),
    Row("plain", "PsiPoints", "dropped", "MessageOutOfOrder"),
    Row("plain", "BatchOpen", "other lane", "MessageOutOfOrder"),
    Row("plain", "Checkpoint", "twice", "MessageOutOfOrder"),
    Row("plain", "Countersignature", "dropped", "MessageOutOfOrder"),
    Row("plain", "ManifestAccepted", "replayed", "VerificationFailed"),
    # Other bytes of the envelope
    Row("plain", "PlainFeatures", "cut by one byte", "MalformedMessage"),
    Row("plain", "EpochEnd", "cut in half", "MalformedMessage"),
    Row("plain", "Checkpoint", "one byte", "MalformedMessage"),
    Row("plain", "Countersignature", "header only", "MalformedMessage"),
    Row("plain", "Hello", "random bytes", "MalformedMessage"),
    Row("plain", "PsiPoints", "unknown field", "MalformedMessage"),
    Row("plain", "PsiDigests", "unknown field in the body", "MalformedMessage"),
    Row("plain", "FeatureShape", "empty body", "MalformedMessage"),
    Row("plain", "BatchOpen", "two bodies", "MalformedMessage"),
    Row("plain", "PlainFeatures", "varint too long", "MalformedMessage"),
    Row("plain", "EpochEnd", "phase 99", "MalformedMessage"),
    Row("plain", "Checkpoint", "next sequence", "MessageOutOfOrder"),
    Row("plain", "Countersignature", "sequence 2^64-1", "MalformedMessage"),
    Row("plain", "Hello", "round 2^63", "MalformedMessage"),
    Row("plain", "ManifestAccepted", "a million phases", "MalformedMessage"),
    Row("plain", "PlainFeatures", "bit of the body flipped", ""),
    # Other frames
    Row("plain", "Hello", "length 2^62", "MessageTooLarge"),
    Row("plain", "ManifestAccepted", "length 2^64-1", "MessageTooLarge"),
    Row("plain", "FeatureShape", "no length", "MalformedMessage"),
    Row("plain", "PlainFeatures", "two lengths", "MalformedMessage"),
    Row("plain", "EpochEnd", "empty frame", "MalformedMessage"),
    Row("plain", "FeatureShape", "byte by byte", "MalformedMessage"),
    Row("plain", "BatchOpen", "long frame", ""),  # ends the connection: the parties connect again, and go on
    Row("plain", "Hello", "end in the middle", "MalformedMessage"),
    Row("plain", "ManifestAccepted", "frame after the end", "MalformedMessage"),
    Row("plain", "EpochEnd", "half, then silence", "PeerTimeout"),
    Row("plain", "SplitDigest", "the same bytes again", "MessageOutOfOrder"),
    # Other values of a field
    Row("plain", "Hello", "scheme: invalid UTF-8", "MalformedMessage"),
    Row("plain", "Hello", "scheme: other", "WrongSession"),
    Row("plain", "ManifestAccepted", "digest: flipped", "VerificationFailed"),
    Row("plain", "PsiOpen", "set_size: largest", "MalformedMessage"),
    Row("plain", "PsiOpen", "pair: flipped", "WrongSession"),
    Row("plain", "PsiPoints", "points: zeros", "InvalidPoint"),
    Row("plain", "PsiPoints", "index: one more", "MessageOutOfOrder"),
    Row("plain", "PsiDigests", "digests: shorter", "MalformedMessage"),
    Row("plain", "SplitDigest", "train_set: flipped", "Misaligned"),
    Row("plain", "FeatureShape", "rows: largest", "MalformedMessage"),
    Row("plain", "BatchOpen", "rows: one more", "Misaligned"),
    Row("plain", "PlainFeatures", "features: one column more", "MalformedMessage"),
    Row("plain", "PlainFeatures", "features: transposed", "MalformedMessage"),
    Row("plain", "PlainFeatures", "features: huge", "MalformedMessage"),
    Row("plain", "PlainFeatures", "features: NaN", "MalformedMessage"),
    Row("plain", "PlainFeatures", "features: too large", ""),
    Row("plain", "PlainFeatures", "features: other dtype", "MalformedMessage"),
    Row("plain", "PlainFeatures", "features: shape of 2^62", "MalformedMessage"),
    Row("plain", "Checkpoint", "count: one more", "VerificationFailed"),
    Row("plain", "Countersignature", "head: flipped", "VerificationFailed"),
    # Ciphertexts and ring elements
    Row("bfv", "ProjectionKey", "replayed", "InvalidCiphertext"),
    Row("bfv", "CollaboratorShare", "parts: doubled", "InvalidCiphertext"),
    Row("bfv", "Projection", "parts: shorter", "InvalidCiphertext"),
    Row("bfv", "WeightGradient", "parts: zeros", "InvalidCiphertext"),
    Row("masked", "MaskedFeatures", "features: too large", "MalformedMessage"),
    Row("masked", "TripleProduct", "parts: random", "InvalidCiphertext"),
]

TO_COLLABORATOR = [
    # Another message, another place, none, or several
    Row("plain", "Manifest", "next phase", "MessageOutOfOrder"),
    Row("plain", "PsiOpen", "other lane", "MessageOutOfOrder"),
    Row("plain", "PsiPoints", "next round", "MessageOutOfOrder"),
    Row("plain", "PsiResult", "next batch", "MessageOutOfOrder"),
    Row("plain", "SplitDigest", "twice", "MessageOutOfOrder"),
    Row("plain", "RoundStart", "dropped", "PeerTimeout"),
    Row("plain", "PlainGradient", "another type", "MessageOutOfOrder"),
    Row("plain", "Checkpoint", "replayed", "VerificationFailed"),
    Row("plain", "PsiResult", "another type", "MessageOutOfOrder"),
    # Other bytes of the envelope
    Row("plain", "Countersignature", "cut by one byte", "MalformedMessage"),
    Row("plain", "Manifest", "cut in half", "MalformedMessage"),
    Row("plain", "PsiResult", "random bytes", "MalformedMessage"),
    Row("plain", "PlainGradient", "unknown field", "MalformedMessage"),
    Row("plain", "Countersignature", "group in the body", "MalformedMessage"),
    Row("plain", "Manifest", "empty body", "MalformedMessage"),
    Row("plain", "PsiOpen", "two bodies", "MalformedMessage"),
    Row("plain", "PsiResult", "phase 99", "MalformedMessage"),
    Row("plain", "SplitDigest", "next sequence", "MessageOutOfOrder"),
    Row("plain", "PlainGradient", "round 2^63", "MalformedMessage"),
    Row("plain", "Checkpoint", "a million phases", "MalformedMessage"),
    Row("plain", "PsiPoints", "bit of the body flipped", ""),
    # Other frames
    Row("plain", "Manifest", "length 2^62", "MessageTooLarge"),
    Row("plain", "Manifest", "length 2^64-1", "MessageTooLarge"),
    Row("plain", "PsiResult", "length one more", "MalformedMessage"),
    Row("plain", "RoundStart", "length one less", "MalformedMessage"),
    Row("plain", "PsiResult", "no length", "MalformedMessage"),
    Row("plain", "SplitDigest", "length only", "MalformedMessage"),
    Row("plain", "RoundStart", "two lengths", "MalformedMessage"),
    Row("plain", "PlainGradient", "empty frame", "MalformedMessage"),
    Row("plain", "PlainGradient", "byte by byte", "MalformedMessage"),
    Row("plain", "SplitDigest", "long frame", ""),
    Row("plain", "Manifest", "end in the middle", "MalformedMessage"),
    Row("plain", "Manifest", "frame after the end", "MalformedMessage"),
    Row("plain", "PsiResult", "the same bytes again", "MessageOutOfOrder"),
    Row("plain", "SplitDigest", "noise", "MalformedMessage"),
    # Other values of a field
    Row("plain", "Manifest", "session: flipped", "VerificationFailed"),
    Row("plain", "Manifest", "calculation_timeout: NaN", "MalformedMessage"),
    Row("plain", "Manifest", "feature_keys: escape", "MalformedMessage"),
    Row("plain", "Manifest", "nonces: flipped", "WrongSession"),
    Row("plain", "Manifest", "scheme_parameters: huge", "MalformedMessage"),
    Row("plain", "PsiOpen", "set_size: largest", "MalformedMessage"),
    Row("plain", "PsiPoints", "points: ones", "InvalidPoint"),
    Row("plain", "PsiResult", "matches: longer", "MalformedMessage"),
    Row("plain", "SplitDigest", "test_order: random", "Misaligned"),
    Row("plain", "PlainGradient", "gradient: huge", "MalformedMessage"),
    Row("plain", "PlainGradient", "gradient: NaN", "MalformedMessage"),
    Row("plain", "PlainGradient", "gradient: too large", ""),
    Row("plain", "PlainGradient", "gradient: shape of 2^62", "MalformedMessage"),
    Row("plain", "Checkpoint", "head: zeros", "VerificationFailed"),
    # Ciphertexts and ring elements
    Row("bfv", "StepGradient", "parts: longer", "InvalidCiphertext"),
    Row("bfv", "FeatureGradient", "exponent: largest", "MalformedMessage"),
    Row("bfv", "FeatureGradient", "parts: very many", "MalformedMessage"),
    Row("bfv", "CheckQuery", "combination: too large", "MalformedMessage"),
    Row("masked", "TripleRequest", "count: largest", "MalformedMessage"),
    Row("masked", "TripleRequest", "kind: other", "MalformedMessage"),
    Row("masked", "MaskedShare", "share: too large", "MalformedMessage"),
    Row("masked", "MaskedGradient", "gradient: NaN", "MalformedMessage"),
]

ROWS = {HOST: TO_HOST, OTHER: TO_COLLABORATOR}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Table]]:
    """All rows, against a host and against a collaborator at the same time. Each scheme begins with an honest task."""
    groups = {victim: Parties(tmp_path_factory.mktemp(victim)) for victim in ROWS}
    with ThreadPoolExecutor(2) as pool:
        running = {victim: pool.submit(run_table, groups[victim], victim, plan(victim)) for victim in ROWS}
        yield {victim: table.result() for victim, table in running.items()}
    for parties in groups.values():
        parties.stop()


def plan(victim: str) -> list[Attack]:
    """The rows as attacks."""
    attacks: list[Attack] = []
    for scheme in dict.fromkeys(row.scheme for row in ROWS[victim]):
        attacks.append(Attack(victim, scheme))
        attacks += [row.attack(victim) for row in ROWS[victim] if row.scheme == scheme]
    return attacks


CASES = [pytest.param(victim, row, id=f"{victim} {row.type} {row.mutation}") for victim in ROWS for row in ROWS[victim]]


@pytest.mark.parametrize(("victim", "row"), CASES)
def test_a_hostile_message(tables: dict[str, Table], victim: str, row: Row) -> None:
    found = [o for o in tables[victim].outcomes if (o.attack.type, o.attack.mutation) == (row.type, row.mutation)]
    assert len(found) == 1
    outcome = found[0]
    assert outcome.error == row.error, outcome
    assert outcome.ok == (not row.error)
    assert not outcome.problems, outcome
    assert not outcome.same, "the attack changed nothing"


@pytest.mark.parametrize("victim", ROWS)
def test_the_victim_goes_on(tables: dict[str, Table], victim: str) -> None:
    table = tables[victim]
    honest = [outcome for outcome in table.outcomes if not outcome.attack.mutation]
    assert len(honest) == 4
    assert all(outcome.ok for outcome in honest), "honest tasks between and after the attacks succeed"
    assert "Traceback" not in table.victim_err
