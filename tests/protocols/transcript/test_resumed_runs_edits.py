"""Every kind of edit to the transcripts of an interrupted run is caught; counts are printed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import H
from protocols.transcript.preamble import AgreedTerms
from tests.protocols.transcript.interrupted_runs import check_run, interrupted
from tests.protocols.transcript.recorded_runs import key_of, kinds, rebuild, texts_of
from tests.protocols.transcript.test_auditor_edits import another, compact, fields_changed, rebuild_safely, structural
from tests.protocols.whole_task import Case
from tests.vectors.verify_transcript import Invalid, verify

RUNS = [
    (Case("plain", rounds=1, batches=(4, 2, 3)), (70, 40)),
    (Case("masked", rounds=1, batches=(4, 2, 3)), (140, 40)),
]
NOT_IN_SECOND = {"IllegalOrder", "ImpossibleSize"}
"""What the second verifier does not look at."""


class Edits:
    """Edits to the files of one end, and how they were caught.

    Args:
        what: to print.
        run: both ends' files, unchanged.
    """

    def __init__(self, what: str, run: tuple[list[bytes], list[bytes]]) -> None:
        self.what, self.run, self.caught = what, run, Counter[str]()

    def try_(self, at: int, edited: list[bytes]) -> None:
        """In place of file `at` come these."""
        host = [*self.run[0][:at], *edited, *self.run[0][at + 1 :]]
        found = kinds(check_run(host))
        if found:
            self.caught["one end"] += 1
            assert refuses(host) or found <= NOT_IN_SECOND, found
        elif kinds(check_run(host, self.run[1])):
            self.caught["both ends"] += 1
            assert refuses(host, self.run[1])
        elif same_messages(host, self.run[0]):
            self.caught["no effect on any message"] += (
                1  # a signature, or how directions interleave, behind a last seal
            )
        else:
            self.caught["not"] += 1

    def show(self, capsys: pytest.CaptureFixture[str]) -> None:
        tried = self.caught.total()
        how = ", ".join(f"{count} with {how}" for how, count in self.caught.items())
        with capsys.disabled():
            print(f"\n  {self.what}: {tried} tried, {tried - self.caught['not']} caught or harmless ({how})", end="")
        assert tried
        assert not self.caught["not"]


def refuses(*ends: list[bytes]) -> bool:
    """What the second verifier says."""
    try:
        verify(*ends)
    except (Invalid, ValueError, KeyError, IndexError):
        return True
    return False


def same_messages(run: list[bytes], other: list[bytes]) -> bool:
    """In each direction of each conversation; and in the same order up to the last seal."""

    def directions(file: bytes) -> list[list[bytes]]:
        return [[text for text in texts_of(file) if text.startswith(start)] for start in (b"e h", b"e c")]

    def sealed(file: bytes) -> bytes:
        texts = texts_of(file)
        last = max(at for at, text in enumerate(texts) if text.startswith(b"seal"))
        return b"\n".join(text for text in texts[:last] if text.startswith(b"e "))

    pairs = list(zip(run, other, strict=True))
    return all(directions(a) == directions(b) and sealed(b).startswith(sealed(a)) for a, b in pairs)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_bit_flipped_in_any_file(data: st.DataObject) -> None:
    host, collaborator = interrupted(*RUNS[0])
    at = data.draw(st.integers(0, len(host) - 1))
    position = data.draw(st.integers(0, len(host[at]) - 2))
    changed = bytearray(host[at])
    changed[position] ^= data.draw(st.integers(1, 255))
    run = [*host[:at], bytes(changed), *host[at + 1 :]]
    assert kinds(check_run(run))
    assert kinds(check_run(collaborator, run, name="collaborator"))
    assert refuses(run)


@pytest.mark.parametrize(("case", "cuts"), RUNS, ids=["plain", "masked"])
def test_lines_moved_by_somebody_without_a_key(
    case: Case, cuts: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = interrupted(case, cuts)
    other = interrupted(Case(case.scheme, rounds=1, batches=(4, 2)), cuts)[0]
    for at, file in enumerate(run[0]):
        edits = Edits(f"move lines of conversation {at + 1}, {case.scheme}", run)
        moved = list(structural(texts_of(file), texts_of(other[at])))
        for _, lines in moved[:: 7 if case.scheme == "plain" else 41]:
            mutated = rebuild_safely(lines)
            if mutated != file:
                edits.try_(at, [mutated])
        edits.show(capsys)


@pytest.mark.parametrize(("case", "cuts"), RUNS, ids=["plain", "masked"])
def test_messages_changed_by_a_party(case: Case, cuts: tuple[int, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """The writer itself: everything that needs no other key than its own is made anew."""
    run = interrupted(case, cuts)
    for at, file in enumerate(run[0]):
        edits, texts = (
            Edits(f"change a field with one's own key, {case.scheme}, conversation {at + 1}", run),
            texts_of(file),
        )
        changes = [
            (line, new) for line, old in enumerate(texts) if old.startswith(b"e ") for new in fields_changed(old)
        ]
        last = [change for change in changes if change[0] > len(texts) - 5]
        for line, new in changes[:: 23 if case.scheme == "plain" else 131] + last:
            edits.try_(at, [rebuild([*texts[:line], new, *texts[line + 1 :]], key_of(H))])
        for end in range(5, len(texts) - 4, 7 if case.scheme == "plain" else 17):
            edits.try_(at, [rebuild([*texts[:end], b"seal 00"], key_of(H))])
        edits.show(capsys)


@pytest.mark.parametrize(("case", "cuts"), RUNS, ids=["plain", "masked"])
def test_whole_transcripts_moved(case: Case, cuts: tuple[int, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Taken out, put in twice, exchanged, or of another run that was cut at the same places."""
    run, edits = interrupted(case, cuts), Edits(f"move transcripts, {case.scheme}", interrupted(case, cuts))
    other = interrupted(Case(case.scheme, rounds=1, batches=(4, 2)), cuts)[0]
    files = run[0]
    for at, file in enumerate(files):
        edits.try_(at, [])
        edits.try_(at, [file, file])
        edits.try_(at, [other[at]])
        edits.try_(at, [file, other[at]])
        edits.try_(at, [files[at - 1]])
    edits.show(capsys)


def test_agreements_altered(capsys: pytest.CaptureFixture[str]) -> None:
    """Every field of every conversation's agreement, with the writer's key."""
    case, cuts = RUNS[0]
    run = interrupted(case, cuts)
    edits = Edits("alter what was agreed on with one's own key", run)
    for at, file in enumerate(run[0]):
        texts = texts_of(file)
        terms = AgreedTerms.parse(texts[1].partition(b" ")[2].decode())
        for name, value in vars(terms).items():
            changed = compact({**vars(terms), name: another(name, value)})
            edits.try_(at, [rebuild([texts[0], b"agreed " + changed, *texts[2:]], key_of(H))])
    edits.show(capsys)
