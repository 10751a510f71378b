"""Lines and records: written and read back, in one spelling only."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import InvalidInput
from protocols.core.sender import Sender
from protocols.transcript.errors import MalformedTranscript
from protocols.transcript.format import (
    MAX_LINE,
    Entry,
    RunningHash,
    Seal,
    SignedHead,
    entry_text,
    lines_of,
    parse,
    signed_head_text,
)
from protocols.transcript.preamble import AgreedTerms, WriterInfo
from tests.protocols.transcript.recorded_runs import check, kinds, rebuild, texts_of, transcripts
from tests.protocols.whole_task import Case

counts = st.integers(0, 10**19 - 1)
senders = st.sampled_from(list(Sender))
places = st.tuples(st.integers(1, 8), st.integers(0, 1 << 31), st.integers(0, 1 << 31))
hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=8, max_size=72)


@given(
    senders,
    counts,
    st.text("ABCabc", min_size=1, max_size=40),
    places,
    counts,
    st.lists(counts, max_size=4),
    st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    hashes,
)
def test_an_entry_reads_as_it_was_written(
    sender: Sender,
    sequence: int,
    kind: str,
    place: tuple[int, int, int],
    length: int,
    recorded: list[int],
    tag: bytes,
    digest: bytes,
) -> None:
    text = entry_text(sender, sequence, kind, place, length, tuple(recorded), tag.hex(), digest.hex())
    wanted = (
        sender,
        sequence,
        kind,
        *place,
        length,
        tuple(recorded),
        tag.hex().encode() or b"-",
        digest.hex().encode(),
    )
    assert parse(text, 5) == Entry(False, *wanted)
    assert parse(b"x" + text[1:], 5) == Entry(True, *wanted)


@given(senders, places, counts, hashes, st.one_of(st.none(), hashes), signatures)
def test_a_signature_reads_as_it_was_written(
    sender: Sender, place: tuple[int, int, int], count: int, head: bytes, record: bytes | None, signature: bytes
) -> None:
    signed = SignedHead(sender, *place[:2], count, head, record, signature)
    assert parse(signed_head_text(signed), 5) == signed
    assert parse(b"seal " + signature.hex().encode(), 5) == Seal(signature)


@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_lines_come_out_of_any_pieces(lines: list[bytes], size: int) -> None:
    wanted = [line.replace(b"\n", b"") + b"\n" for line in lines]
    data = b"".join(wanted) + b"rest"
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(lines_of(chunks)) == [*wanted, b"rest"]


def test_an_endless_line_takes_bounded_memory() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1 << 16
            yield bytes(1 << 16)

    (line,) = lines_of(endless())  # type: ignore[arg-type]
    assert taken <= MAX_LINE + (1 << 17)
    with pytest.raises(MalformedTranscript):
        RunningHash().read(line)


GOOD = entry_text(Sender.HOST, 1, "RoundStart", (5, 1, 0), 10, (0,), "", "0" * 64)


WRONG_LINES = {
    "nothing": b"",
    "only its first letter": b"e",
    "a space at the end": GOOD + b" ",
    "an unknown sender": GOOD.replace(b"e h", b"e s"),
    "a leading zero": GOOD.replace(b"h 1 ", b"h 01 "),
    "a plus sign": GOOD.replace(b"h 1 ", b"h +1 "),
    "a negative number": GOOD.replace(b"h 1 ", b"h -1 "),
    "an exponent": GOOD.replace(b"h 1 ", b"h 1e3 "),
    "two spaces": GOOD.replace(b"h 1 ", b"h  1 "),
    "a number of 20 digits": GOOD.replace(b"h 1 ", b"h " + b"9" * 20 + b" "),
    "phase 9": GOOD.replace(b" 5 1", b" 9 1"),
    "phase 0": GOOD.replace(b" 5 1", b" 0 1"),
    "a type of two words": GOOD.replace(b"RoundStart", b"Round Start"),
    "a type of 41 letters": GOOD.replace(b"RoundStart", b"a" * 41),
    "a comma without a number": GOOD.replace(b" 0 - ", b" 0, - "),
    "five recorded numbers": GOOD.replace(b" 0 - ", b" 0,0,0,0,0 - "),
    "a short tag": GOOD.replace(b" - ", b" 0123 "),
    "a short digest": GOOD[:-1],
    "a capital hex digit": GOOD[:-1] + b"A",
    "a byte beyond ASCII": GOOD + b"\xff",
    "a seal without a signature": b"seal ",
    "a seal of half a byte": b"seal 0",
    "a seal of 73 bytes": b"seal " + b"00" * 73,
    "half a checkpoint": b"checkpoint h 5 1 17",
    "terms beyond ASCII": "agreed {é}".encode(),
    "another kind of line": b"comment",
}


@pytest.mark.parametrize("text", WRONG_LINES.values(), ids=WRONG_LINES)
def test_only_one_spelling_is_read(text: bytes) -> None:
    assert isinstance(parse(GOOD, 5), Entry)
    with pytest.raises(MalformedTranscript):
        parse(text, 5)


def test_recorded_values_that_a_type_does_not_have_are_refused() -> None:
    texts = texts_of(transcripts(Case("plain"))[0])
    for kind, recorded, tag in ((b"Hello", b"1", b"-"), (b"Hello", b"-", b"-"), (b"Unheard", b"-", b"-")):
        changed = [
            b" ".join([*text.split(b" ")[:3], kind, b"1 0 0 66", recorded, tag, b"0" * 64]) for text in texts[4:5]
        ]
        assert "MalformedTranscript" in kinds(check(rebuild([*texts[:4], *changed, *texts[5:]], {})))


def test_records_are_read_in_one_spelling_only() -> None:
    text = texts_of(transcripts(Case())[0])[1].partition(b" ")[2].decode()
    agreed = AgreedTerms.parse(text)
    assert agreed.text() == text
    values = json.loads(text)
    missing = {name: value for name, value in values.items() if name != "scheme"}
    bad = [
        text + " ",
        json.dumps(values),
        json.dumps(values, separators=(",", ":"), sort_keys=True, indent=1),
        text.replace('"scheme"', '"scheme":"a","scheme"', 1),
        json.dumps(missing, separators=(",", ":"), sort_keys=True),
        "[]",
        "{}",
        "{",
        "[" * 100_000,
        "1" * 5000,
        text.replace('"bfv"', '"\\ud800"'),
        text.replace('"bfv"', "1"),
        text.replace('"is_trainable":true', '"is_trainable":1'),
        text.replace('"projection_width":2', '"projection_width":65536'),
        text.replace('["patient"]', '["other"]'),
        text.replace('["patient"]', '"patient"'),
        text.replace("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"),
        text.replace("-----BEGIN", "x-----BEGIN"),
    ]
    for changed in bad:
        assert changed != text
        with pytest.raises(InvalidInput):
            AgreedTerms.parse(changed)


def test_an_older_text_says_nothing_of_labels_and_a_newer_one_does() -> None:
    values = json.loads(texts_of(transcripts(Case())[0])[1].partition(b" ")[2])
    assert values["label_epsilon"] == 0.0

    def parsed(**changed: object) -> AgreedTerms:
        told = {name: value for name, value in {**values, **changed}.items() if value is not None}
        return AgreedTerms.parse(json.dumps(told, sort_keys=True, separators=(",", ":")))

    assert parsed(label_epsilon=2.5).label_epsilon == 2.5
    older = dict.fromkeys(AgreedTerms.newer)
    assert parsed(protocol_version=2, **older).label_epsilon == 0.0
    wrong: list[dict[str, object]] = [
        {"label_epsilon": None},
        {"protocol_version": 2},
        {"label_epsilon": 3},
        {"label_epsilon": -1.0},
        {"label_epsilon": math.inf},
        {"label_epsilon": "3.0"},
    ]
    for changed in wrong:
        with pytest.raises(InvalidInput):
            parsed(**changed)


WRONG_WRITERS: dict[str, dict[str, object]] = {
    "neither party": {"writer": "nobody"},
    "a version that is a number": {"software": {"a": 1}},
    "a version of two lines": {"software": {"a": "line\nbreak"}},
    "too much software": {"software": {str(i): "1" for i in range(65)}},
    "software in a list": {"software": []},
    "a short commitment": {"seed_commitment": "12"},
    "a commitment that is not hexadecimal": {"seed_commitment": "G" * 64},
}


@pytest.mark.parametrize("own", WRONG_WRITERS.values(), ids=WRONG_WRITERS)
def test_what_a_writer_says_of_itself_is_checked(own: dict[str, object]) -> None:
    good: dict[str, object] = {"writer": "host", "software": {}, "seed_commitment": ""}
    WriterInfo(**good)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        WriterInfo(**{**good, **own})  # type: ignore[arg-type]
