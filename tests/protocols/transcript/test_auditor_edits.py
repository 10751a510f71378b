"""Every kind of edit to a transcript is caught, by the auditor and by the second verifier; counts are printed.

Who edits: somebody without a key (also one who knows the format and rebuilds what needs none), a stranger with a key of
his own, or one of the two parties with its own key. The last can only change what the other has not yet signed, and
that shows when both files are compared.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import C, H, identity
from protocols.core.sender import Sender
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.format import RunningHash, lines_of
from tests.protocols.transcript.recorded_runs import check, key_of, kinds, rebuild, texts_of, transcripts
from tests.protocols.whole_task import Case
from tests.vectors.verify_transcript import Invalid, verify

SMALL = [
    Case("bfv", rounds=1, batches=(4, 2)),
    Case("paillier", rounds=1, batches=(3,)),
    Case("masked", rounds=1, batches=(4, 2)),
    Case("plain", rounds=1, batches=(4, 2)),
]


class Count:
    """How many edits were tried, and how they were caught."""

    def __init__(self, what: str) -> None:
        self.what, self.caught = what, Counter[str]()

    def try_(self, mutated: bytes, other: bytes | None) -> None:
        """One edit: with the file alone, else with the other end's."""
        alone = kinds(check(mutated))
        if alone:
            self.caught["one file"] += 1
            assert refuses(mutated) or alone <= {"IllegalOrder", "ImpossibleSize", "RepeatedContent"}, alone
        elif other is not None and kinds(check(mutated, other)):
            self.caught["both files"] += 1
            assert not refuses(mutated)
            assert refuses(mutated, other)
        else:
            self.caught["not"] += 1
            assert not refuses(mutated)

    def show(self, capsys: pytest.CaptureFixture[str]) -> None:
        tried = self.caught.total()
        how = ", ".join(f"{count} with {how}" for how, count in self.caught.items())
        with capsys.disabled():
            print(f"\n  {self.what}: {tried} tried, {tried - self.caught['not']} caught ({how})", end="")
        assert tried
        assert not self.caught["not"]


def refuses(*files: bytes) -> bool:
    """What the second verifier says."""
    try:
        verify(*([file] for file in files))
    except (Invalid, ValueError, KeyError, IndexError):
        return True
    return False


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_the_second_verifier_agrees_that_good_files_are_good(case: Case) -> None:
    host, collaborator = transcripts(case)
    verify([host])
    verify([collaborator])
    verify([host], [collaborator])
    assert refuses(host, host)
    assert refuses(host, transcripts(Case())[1])


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_every_byte_of_a_file(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Every bit of one file; of the others, one bit of every byte, another for its neighbour.

    A changed line is refused where it stands and leaves the auditor as it was, so one serves for all.
    """
    file, tried, caught = transcripts(case)[0], 0, 0
    is_exhaustive = case.scheme == "plain"
    auditor = FileAuditor("host")
    at = 0
    for line in lines_of([file]):
        following = file[at + len(line) : at + len(line) + 300]
        for position in range(len(line)):
            for bit in range(8) if is_exhaustive else (position * 3 % 8,):
                changed = bytearray(line)
                changed[position] ^= 1 << bit
                first = next(lines_of([bytes(changed) + following]))
                before = auditor._running.value
                auditor.feed(first)
                tried += 1
                caught += auditor.is_over and auditor._running.value == before
                auditor.findings.clear()
                auditor.is_over = False
        auditor.feed(line)
        at += len(line)
    assert auditor.is_finished
    with capsys.disabled():
        print(f"\n  flip a bit anywhere, {case.scheme}: {tried} tried, {caught} caught (with one file)", end="")
    assert tried == caught == (8 if is_exhaustive else 1) * len(file)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flips_in_whole_files(data: st.DataObject) -> None:
    host, collaborator = transcripts(data.draw(st.sampled_from(SMALL)))
    position = data.draw(st.integers(0, len(host) - 1))
    by = data.draw(st.integers(1, 255))
    changed = host[:position] + bytes([host[position] ^ by]) + host[position + 1 :]
    assert kinds(check(changed))
    assert kinds(check(changed, collaborator))
    assert refuses(changed)


def structural(lines: list[bytes], others: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Edits of whole lines; `others` are another run's."""
    for at in range(len(lines)):
        yield "drop a line", [*lines[:at], *lines[at + 1 :]]
        yield "duplicate a line", [*lines[: at + 1], *lines[at:]]
        if at and lines[at - 1] != lines[at]:
            yield "swap two lines", [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]
        if at:
            yield "truncate", lines[:at]
            if at > 1:  # the first line is the same in all
                yield "splice two runs", [*lines[:at], *others[at:]]


@pytest.mark.parametrize("case", SMALL, ids=str)
@pytest.mark.parametrize("rebuilt", [False, True], ids=["as they are", "check values rebuilt"])
def test_lines_moved_by_somebody_without_a_key(case: Case, rebuilt: bool, capsys: pytest.CaptureFixture[str]) -> None:
    host, _ = transcripts(case)
    other = transcripts(Case(case.scheme, rounds=2 if case.scheme == "plain" else 1, batches=(4,)))[0]
    split: Callable[[bytes], list[bytes]] = texts_of if rebuilt else lambda file: file.splitlines(keepends=True)
    counts: dict[str, Count] = {}
    step = {"bfv": 8, "paillier": 14, "masked": 8, "plain": 4}[case.scheme]
    for index, (what, lines) in enumerate(structural(split(host), split(other))):
        if index % step == 0:
            count = counts.setdefault(what, Count(f"{what}, {case.scheme}"))
            count.try_(rebuild_safely(lines) if rebuilt else b"".join(lines), None)
    for count in counts.values():
        count.show(capsys)


def rebuild_safely(lines: list[bytes]) -> bytes:
    """Check values for any lines; nothing is signed."""
    running = RunningHash()
    return b"".join(map(running.write, lines))


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_signatures_replaced(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """By another of the same file, by a stranger's, or by the right party's over something else.

    All three for each signature of one file; of the others, one of them in turn.
    """
    host, collaborator = transcripts(case)
    texts, count = texts_of(host), Count(f"replace a signature, {case.scheme}")
    signed = [
        at for at, text in enumerate(texts) if text.split(b" ")[0] in (b"seal", b"checkpoint", b"countersignature")
    ]
    for index, at in enumerate(signed):
        old = texts[at].rpartition(b" ")[0]
        replacements = (
            texts[signed[index - 1]].rpartition(b" ")[2],
            identity("stranger").sign(b"anything").hex().encode(),
            identity("host").sign(b"anything").hex().encode(),
        )
        tried = replacements if case.scheme == "plain" else [replacements[index % 3]]
        for signature in tried:
            count.try_(rebuild_safely([*texts[:at], old + b" " + signature, *texts[at + 1 :]]), collaborator)
    count.show(capsys)


@pytest.mark.parametrize("with_certificate", [False, True])
def test_signed_again_by_a_stranger(with_certificate: bool, capsys: pytest.CaptureFixture[str]) -> None:
    count = Count(f"re-sign with another key{', its certificate put in' if with_certificate else ''}")
    stranger = identity("stranger")
    for case in SMALL:
        host, collaborator = transcripts(case)
        for senders in ([H], [C]):
            texts = texts_of(host)
            if with_certificate:
                agreed = json.loads(texts[1].partition(b" ")[2])
                agreed[f"{senders[0].role}_certificate"] = stranger.certificate_pem.decode()
                texts[1] = b"agreed " + compact(agreed)
            keys = {**(key_of(H, C) if with_certificate else {}), **dict.fromkeys(senders, stranger)}
            if with_certificate:
                keys.pop(senders[0].other)  # the stranger does not have the other party's key
            count.try_(rebuild(texts, keys), collaborator)
    count.show(capsys)


def test_a_run_made_up_with_two_keys_is_known_by_its_certificates() -> None:
    """With certificates of one's own, anything can be written; not what pinned certificates have signed."""
    texts = texts_of(transcripts(Case())[0])
    agreed = json.loads(texts[1].partition(b" ")[2])
    names = {H: "stranger", C: "other stranger"}
    for sender, name in names.items():
        agreed[f"{sender.role}_certificate"] = identity(name).certificate_pem.decode()
    texts[1] = b"agreed " + compact(agreed)
    made_up = rebuild(texts, {sender: identity(name) for sender, name in names.items()})
    assert not kinds(check(made_up))
    assert kinds(check(made_up, trusted=[identity(s.role).fingerprint for s in Sender]))
    assert "TranscriptsDisagree" in kinds(check(made_up, transcripts(Case())[1]))


def compact(record: object) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def fields_changed(text: bytes) -> Iterator[bytes]:
    """A message's line with one field changed to another that its format allows."""
    fields = text.split(b" ")
    other_hex = {9: b"0123456789abcdef", 10: b"0" * 64}
    for at in range(1, len(fields)):
        changed = list(fields)
        if at == 1:
            changed[at] = b"c" if fields[at] == b"h" else b"h"
        elif at == 3:
            changed[at] = b"Abort" if fields[at] != b"Abort" else b"EpochEnd"
        elif at in other_hex:
            changed[at] = other_hex[at] if fields[at] != b"-" else b"-"
        elif at == 4:
            changed[at] = b"8" if fields[at] != b"8" else b"5"
        elif fields[at] == b"-":
            continue
        else:
            number, _, rest = fields[at].partition(b",")
            changed[at] = b"%d%b" % (int(number) + 1, b"," + rest if rest else b"")
        if changed != fields:
            yield b" ".join(changed)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_fields_changed_consistently_by_a_party(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """The writer itself: everything that needs no other key than its own is made anew."""
    texts, collaborator = texts_of(transcripts(case)[0]), transcripts(case)[1]
    count = Count(f"change a field with one's own key, {case.scheme}")
    step = {"bfv": 17, "paillier": 17, "masked": 17, "plain": 7}[case.scheme]
    changes = [(at, new) for at, text in enumerate(texts) if text.startswith(b"e ") for new in fields_changed(text)]
    last = [change for change in changes if change[0] > len(texts) - 10]  # after the last checkpoint
    for at, new in changes[::step] + last:
        count.try_(rebuild([*texts[:at], new, *texts[at + 1 :]], key_of(H)), collaborator)
    count.show(capsys)


def test_lines_moved_by_a_party(capsys: pytest.CaptureFixture[str]) -> None:
    """As above for whole messages: dropped, repeated or swapped in turn, and renumbered."""
    case = SMALL[0]
    texts, collaborator = texts_of(transcripts(case)[0]), transcripts(case)[1]
    count = Count("drop, repeat or swap messages with one's own key, renumbered")
    unchanged = rebuild(texts, key_of(H))
    entries = [at for at, text in enumerate(texts) if text.startswith(b"e ") and b"ignature" not in text]
    for index, (at, following) in enumerate(itertools.pairwise(entries)):
        if b"Checkpoint" in texts[at] + texts[following]:
            continue
        swapped = list(texts)
        swapped[at], swapped[following] = texts[following], texts[at]
        lines = ([*texts[:at], *texts[at + 1 :]], [*texts[: at + 1], *texts[at:]], swapped)[index % 3]
        mutated = rebuild(renumbered(lines), key_of(H))
        if mutated != unchanged and directions(lines) != directions(texts):
            count.try_(mutated, collaborator)
    count.show(capsys)


def directions(texts: list[bytes]) -> list[list[bytes]]:
    return [[text for text in renumbered(texts) if text.startswith(start)] for start in (b"e h", b"e c")]


def renumbered(texts: list[bytes]) -> list[bytes]:
    """Sequence numbers made to count again."""
    counts, out = Counter[bytes](), []
    for text in texts:
        fields = text.split(b" ")
        if fields[0] == b"e":
            fields[2] = b"%d" % counts[fields[1]]
            counts[fields[1]] += 1
        out.append(b" ".join(fields))
    return out


def test_manifests_altered(capsys: pytest.CaptureFixture[str]) -> None:
    """Every field of what was agreed on and of what the writer says of itself, also with the writer's own key."""
    counts = {"nobody's": Count("alter the manifest"), "own": Count("alter the manifest with one's own key")}
    for case in SMALL:
        host, collaborator = transcripts(case)
        texts = texts_of(host)
        for number in (1, 2):
            kind, _, body = texts[number].partition(b" ")
            record = json.loads(body)
            for name, value in record.items():
                changed = compact({**record, name: another(name, value)})
                lines = [*texts[:number], kind + b" " + changed, *texts[number + 1 :]]
                counts["nobody's"].try_(rebuild_safely(lines), collaborator)
                if name != "writer":
                    counts["own"].try_(rebuild(lines, key_of(H)), collaborator)
    for count in counts.values():
        count.show(capsys)


def another(name: str, value: object) -> object:
    """A value of the same type."""
    special: dict[str, object] = {
        "collaborators": ["patient", "another"],
        "collaborator": "another",
        "writer": "collaborator",
        "software": {"secure-hfl": "9.9.9"},
        "seed_commitment": "0" * 64,
        "resumed_from": "" if value else "0" * 64,
        "resumed_at": [5, 3, 7],
    }
    if name in special:
        return special[name]
    if name.endswith("certificate"):
        return identity("stranger").certificate_pem.decode()
    if name.endswith("seam"):
        return "" if value else "0" * 224
    if name.endswith(("digest", "tag")):
        return "0" * 64
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value} "


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 60), st.booleans())
def test_no_bytes_make_the_auditor_crash(junk: bytes, at: int, checked: bool) -> None:
    texts = texts_of(transcripts(SMALL[3])[0])
    if checked:
        file = rebuild_safely([*texts[:at], junk.replace(b"\n", b""), *texts[at:]])
    else:
        file = transcripts(SMALL[3])[0][: at * 200] + junk
    assert kinds(check(file))
    assert kinds(check(junk, file))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_numbers_make_the_auditor_crash(data: st.DataObject) -> None:
    """Both keys in one hand: every line is signed, and holds what it likes."""
    texts = texts_of(transcripts(data.draw(st.sampled_from(SMALL)))[0])
    entries = [at for at, text in enumerate(texts) if text.startswith(b"e ")]
    numbers = st.sampled_from([0, 1, 2, 7, 8, 255, 1 << 20, 1 << 31, (1 << 63) - 1, 10**19 - 1])
    for at in data.draw(st.lists(st.sampled_from(entries), min_size=1, max_size=4)):
        fields = texts[at].split(b" ")
        which = data.draw(st.sampled_from([2, 5, 6, 7, 8, 8, 8]))
        if which != 8:
            fields[which] = b"%d" % min(data.draw(numbers), 10**18)
        elif fields[8] != b"-":
            fields[8] = b",".join(b"%d" % data.draw(numbers) for _ in fields[8].split(b","))
        texts[at] = b" ".join(fields)
    check(rebuild(texts, key_of(H, C)))
