"""Which checkpoint all parties go on from, what names it, and what binds the conversations before and after it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.pump import pinned, pump, replay
from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput, WrongSession
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.core.steps import Receive, Send, Steps
from protocols.task.agreement import CollaboratorAgreement, HostPlan, check_hello, make_manifest
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest, ManifestAccepted
from protocols.task.resumption import (
    MAX_COUNT,
    MAX_OFFERED,
    POSITION_BYTES,
    TAG_BYTES,
    ResumePoint,
    TranscriptPosition,
    checkpoint_tag,
    newest_common,
)

SESSION = SeededRandomness(1, "session").bytes(32)
OLD, NEW, OTHER = (ResumePoint(Phase.TRAIN, 2, 300), ResumePoint(Phase.TRAIN, 3, 50), ResumePoint(Phase.TEST, 2))
FIRST = ResumePoint(Phase.PSI)
TAGS = {point: checkpoint_tag(SESSION, point) for point in (FIRST, OLD, NEW, OTHER)}

# Points and tags --------------------------------------------------------------------------------------------------

POINTS = {
    ResumePoint(Phase.PSI): "the end of the intersection",
    ResumePoint(Phase.SETUP): "the end of the set-up",
    ResumePoint(Phase.TRAIN, 1): "the end of training round 1",
    ResumePoint(Phase.TRAIN, 7, 25): "batch 25 of training round 7",
    ResumePoint(Phase.TEST, 7): "the end of test round 7",
}


@pytest.mark.parametrize(("point", "text"), POINTS.items())
def test_places_of_checkpoints(point: ResumePoint, text: str) -> None:
    point.check()
    assert str(point) == text
    assert point.is_set_up == (point.phase is not Phase.PSI)


@pytest.mark.parametrize(
    "place",
    [
        *((phase, 0, 0) for phase in Phase if phase not in (Phase.PSI, Phase.SETUP)),
        *((phase, 1, 0) for phase in Phase if phase not in (Phase.TRAIN, Phase.TEST)),
        *((phase, 1, 1) for phase in Phase if phase is not Phase.TRAIN),
        (Phase.PSI, 0, 1),
        (Phase.TRAIN, 0, 1),
        (Phase.TRAIN, -1, 0),
        (Phase.TRAIN, 1, -1),
    ],
    ids=str,
)
def test_other_places_have_none(place: tuple[Phase, int, int]) -> None:
    with pytest.raises(InvalidInput, match="there are no checkpoints in phase"):
        ResumePoint(*place).check()


POINT = st.builds(
    ResumePoint, st.sampled_from(list(Phase)), st.integers(0, (1 << 31) - 1), st.integers(0, (1 << 31) - 1)
)


@given(st.binary(min_size=32, max_size=32), POINT, st.binary(min_size=32, max_size=32), POINT)
def test_a_tag_is_of_one_place_in_one_session(
    session: bytes, point: ResumePoint, other: bytes, at: ResumePoint
) -> None:
    tag = checkpoint_tag(session, point)
    assert len(tag) == TAG_BYTES
    assert tag == checkpoint_tag(session, ResumePoint(*point))
    assert (tag == checkpoint_tag(other, at)) == ((session, point) == (other, at))


def test_numbers_of_a_tag_do_not_run_together() -> None:
    places = [(5, 1, 11), (5, 11, 1), (51, 1, 1), (5, 111, 0), (5, 1, 110), (5, 110, 1)]
    assert len({checkpoint_tag(SESSION, ResumePoint(*place)) for place in places}) == len(places)  # type: ignore[arg-type]


def test_a_tag_has_not_changed() -> None:
    """A task interrupted under one release goes on under the next."""
    known = "c39dc70f6af854fac56cfdedeb88449c09d82b2c905433dcf3f58b47eceeca53"
    assert hashlib.sha256(b"secure-hfl checkpoint v1\n" + bytes(32) + b"5 2 3").hexdigest() == known
    assert checkpoint_tag(bytes(32), ResumePoint(Phase.TRAIN, 2, 3)).hex() == known


# The newest one that all have -------------------------------------------------------------------------------------


def own(*points: ResumePoint) -> list[tuple[bytes, ResumePoint]]:
    return [(TAGS[point], point) for point in points]


@pytest.mark.parametrize(
    ("ours", "offers", "expected"),
    [
        ([NEW, OLD], [[NEW, OLD], [NEW, OLD]], NEW),
        ([NEW, OLD], [[NEW, OLD], [OLD]], OLD),
        ([NEW, OLD], [[OLD], [NEW, OLD]], OLD),
        ([NEW, OLD], [[OLD, NEW]], NEW),  # the host's order counts
        ([OLD], [[NEW, OLD], [NEW, OLD]], OLD),
        ([OLD], [[OTHER, OLD]], OLD),
        ([OTHER], [[OTHER]], OTHER),
        ([], [[], []], None),
        ([], [[]], None),
        ([FIRST], [[FIRST]], FIRST),
        ([FIRST], [[FIRST], []], None),  # one party died in the moment of its first checkpoint
        ([], [[FIRST]], None),
        ([], [[NEW]], None),  # the collaborator refuses what it gets then
    ],
)
def test_the_newest_common(ours: Any, offers: Any, expected: ResumePoint | None) -> None:
    named = {f"bank {at}": [TAGS[point] for point in points] for at, points in enumerate(offers)}
    assert newest_common(own(*ours), named) == (None if expected is None else (TAGS[expected], expected))


@pytest.mark.parametrize(
    ("ours", "offers", "words"),
    [
        ([NEW], [[]], ["the host has 1", "bank 0 has none"]),
        ([NEW, OLD], [[NEW], []], ["the host has 2", "bank 1 has none"]),
        ([NEW], [[OLD]], ["those of the others are of other places"]),
        ([NEW, OLD], [[NEW], [OLD]], ["those of the others are of other places"]),
        ([OTHER], [[NEW, OLD], [NEW, OLD]], ["those of the others are of other places"]),
    ],
)
def test_none_that_all_have(ours: Any, offers: Any, words: list[str]) -> None:
    named = {f"bank {at}": [TAGS[point] for point in points] for at, points in enumerate(offers)}
    with pytest.raises(WrongSession, match="no checkpoint is held by all parties") as caught:
        newest_common(own(*ours), named)
    for word in [*words, "without --resume"]:
        assert word in str(caught.value)
    assert not any(tag.hex() in str(caught.value) for tag in TAGS.values())


@given(
    st.permutations([NEW, OLD, OTHER]), st.lists(st.sets(st.sampled_from([NEW, OLD, OTHER])), min_size=1, max_size=4)
)
def test_it_is_the_first_of_the_hosts_that_everybody_offers(ours: list[ResumePoint], offers: Any) -> None:
    named = {str(at): [TAGS[point] for point in points] for at, points in enumerate(offers)}
    common = set(ours).intersection(*offers)
    if common:
        assert newest_common(own(*ours), named) == own(*(point for point in ours if point in common))[0]
    else:
        with pytest.raises(WrongSession):
            newest_common(own(*ours), named)


# Transcript positions ---------------------------------------------------------------------------------------------

HASH = st.binary(min_size=32, max_size=32)
COUNT = st.integers(0, MAX_COUNT)
SEAM = TranscriptPosition(b"a" * 32, 5, b"s" * 32, MAX_COUNT, b"r" * 32)


@given(HASH, COUNT, HASH, COUNT, HASH)
def test_a_position_survives_the_wire(agreement: bytes, sent: int, head: bytes, got: int, got_head: bytes) -> None:
    position = TranscriptPosition(agreement, sent, head, got, got_head)
    assert len(position.encode()) == POSITION_BYTES
    assert TranscriptPosition.decode(position.encode()) == position


@given(st.binary(min_size=POSITION_BYTES, max_size=POSITION_BYTES))
def test_a_position_has_one_encoding(data: bytes) -> None:
    counts = (int.from_bytes(data[at : at + 8], "big") for at in (32, 72))
    if max(counts) > MAX_COUNT:
        with pytest.raises(InvalidInput, match="counts messages"):
            TranscriptPosition.decode(data)
    else:
        assert TranscriptPosition.decode(data).encode() == data


def test_the_order_of_a_positions_fields() -> None:
    expected = b"a" * 32 + bytes(7) + b"\x05" + b"s" * 32 + b"\x7f" + b"\xff" * 7 + b"r" * 32
    assert SEAM.encode() == expected


@pytest.mark.parametrize("data", [b"", bytes(POSITION_BYTES - 1), bytes(POSITION_BYTES + 1), SEAM.encode() * 2])
def test_positions_of_another_length_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=f"a transcript position has {POSITION_BYTES} bytes, not {len(data)}"):
        TranscriptPosition.decode(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(("agreement", "sent_head", "received_head"), (b"", bytes(31), bytes(33), "x" * 32, None, 32)),
        *product(("sent", "received"), (-1, MAX_COUNT + 1, 1.0, True, None, "1")),
    ],
)
def test_malformed_positions_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"a transcript position's {name}"):
        replace(SEAM, **{name: value})


# Hello ------------------------------------------------------------------------------------------------------------


def hello(**changes: Any) -> Hello:
    values: dict[str, Any] = {
        "protocol_version": PROTOCOL_VERSION,
        "task_id": "task1",
        "feature_key": "bank",
        "scheme": "plain",
        "is_feature_trainable": True,
        "is_reproducible": False,
        "nonce": SeededRandomness(1, "bank").bytes(NONCE_BYTES),
        "is_resuming": True,
        "checkpoints": (TAGS[NEW], TAGS[OLD]),
        "seam": SEAM.encode(),
    }
    return Hello(**{**values, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"checkpoints": ()},
        {"seam": b""},
        {"checkpoints": (), "seam": b""},
        {"is_resuming": False, "checkpoints": (), "seam": b""},
    ],
)
def test_well_formed_hellos(change: dict[str, Any]) -> None:
    hello(**change)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"checkpoints": tuple(bytes([n]) * TAG_BYTES for n in range(MAX_OFFERED + 1))}, "at most 2 checkpoints"),
        ({"checkpoints": (TAGS[NEW], TAGS[NEW])}, "must differ"),
        ({"checkpoints": (bytes(31),)}, "tags have 32 bytes"),
        ({"checkpoints": (bytes(33),)}, "tags have 32 bytes"),
        ({"checkpoints": (b"",)}, "tags have 32 bytes"),
        ({"is_resuming": False}, "only a resumed task has a past"),
        ({"is_resuming": False, "seam": b""}, "only a resumed task has a past"),
        ({"is_resuming": False, "checkpoints": ()}, "only a resumed task has a past"),
        ({"seam": bytes(POSITION_BYTES - 1)}, "seam must be"),
        ({"seam": bytes(POSITION_BYTES + 1)}, "seam must be"),
        ({"seam": "x" * POSITION_BYTES}, "seam must be bytes"),
    ],
)
def test_malformed_hellos(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"Hello: .*{problem}"):
        hello(**change)


def test_both_sides_resume_or_none_does() -> None:
    anew = hello(is_resuming=False, checkpoints=(), seam=b"")
    check_hello(hello(), "task1", "plain", False, is_resuming=True)
    check_hello(anew, "task1", "plain", False)
    with pytest.raises(WrongSession, match=r"resume: the host goes on .*, bank starts it anew.*all with --resume"):
        check_hello(anew, "task1", "plain", False, is_resuming=True)
    with pytest.raises(WrongSession, match=r"resume: bank goes on .*, the host starts it anew.*all with --resume"):
        check_hello(hello(), "task1", "plain", False)


PLAN = HostPlan("task1", "host", "plain", "", False, 300.0, pinned({"bank": "bank"}), is_resuming=True)

# Manifest ---------------------------------------------------------------------------------------------------------


def manifest(point: ResumePoint | None = NEW, said: Hello | None = None) -> Manifest:
    """The host's, for a collaborator that said this."""
    resumed = None if point is None else (TAGS[point], point)
    return make_manifest([said or hello()], PLAN, None, OsRandomness(), resumed, (SEAM.encode(),))


POINTS_OF = {TAGS[point]: point for point in (NEW, OLD)}


def agreement(
    said: Hello | None = None, points: dict[bytes, ResumePoint] | None = None, has_shown: bool = False
) -> CollaboratorAgreement:
    offered = POINTS_OF if points is None else points
    return CollaboratorAgreement(said or hello(), ("",), PLAN.pinned, "bank", offered, has_shown)


@pytest.mark.parametrize("point", [NEW, OLD])
def test_both_agree_on_a_checkpoint(point: ResumePoint) -> None:
    def host() -> Steps[bytes]:
        said = yield Receive(Hello)
        assert isinstance(said, Hello)
        check_hello(said, "task1", "plain", False, is_resuming=True)
        chosen = newest_common(own(point), {"bank": said.checkpoints})
        yield Send(make_manifest([said], PLAN, None, OsRandomness(), chosen, (SEAM.encode(),)))
        accepted = yield Receive(ManifestAccepted)
        assert isinstance(accepted, ManifestAccepted)
        return accepted.digest

    talk = pump(agreement().run(), host())
    assert talk.left.resume_point == point
    assert talk.left.resumed_from == TAGS[point]
    assert TranscriptPosition.decode(talk.left.seams[0]) == SEAM
    assert talk.right == talk.left.digest()


@pytest.mark.parametrize("points", [(), (FIRST,)])
def test_a_task_that_broke_before_anything_was_set_up_begins_anew(points: tuple[ResumePoint, ...]) -> None:
    said = hello(checkpoints=tuple(TAGS[point] for point in points))
    offered = {TAGS[point]: point for point in points}
    assert replay(agreement(said, offered).run(), manifest(None, said)).resume_point is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"resumed_from": TAGS[OTHER]}, "batch 50 of training round 3, which is not a checkpoint that we offered"),
        ({"resumed_from": bytes(TAG_BYTES)}, "not a checkpoint that we offered"),
        ({"resumed_batch": 51}, "batch 51 of training round 3, which is not"),
        ({"resumed_batch": 0}, "the end of training round 3, which is not"),
        ({"resumed_round": 4}, "batch 50 of training round 4, which is not"),
        ({"resumed_phase": int(Phase.TEST), "resumed_batch": 0}, "the end of test round 3, which is not"),
        ({"resumed_from": TAGS[OLD]}, "not a checkpoint that we offered"),  # the place of the other
        (
            {"resumed_from": b"", "resumed_phase": 0, "resumed_round": 0, "resumed_batch": 0},
            "begins anew, but we have checkpoints",
        ),
    ],
)
def test_the_collaborator_refuses_another_past(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(WrongSession, match=problem):
        replay(agreement().run(), replace(manifest(), **change))


@pytest.mark.parametrize("point", [None, FIRST])
def test_frozen_features_that_were_shown_are_not_shown_by_other_weights(point: ResumePoint | None) -> None:
    """A host that says it has no later checkpoint would get weights anew, and with them another look at every row."""
    said, offered = hello(is_feature_trainable=False), {TAGS[FIRST]: FIRST}
    back = manifest(point, said)
    assert replay(agreement(said, offered).run(), back) == back, "nothing was shown"
    with pytest.raises(WrongSession, match="back to before the set-up: other weights would show the frozen features"):
        replay(agreement(said, offered, has_shown=True).run(), back)


def test_frozen_features_go_on_from_behind_their_set_up() -> None:
    said = hello(is_feature_trainable=False)
    assert replay(agreement(said, has_shown=True).run(), manifest(NEW, said)).resume_point == NEW


@pytest.mark.parametrize("is_resuming", [True, False])
def test_who_offered_nothing_resumes_nothing(is_resuming: bool) -> None:
    said = hello(is_resuming=is_resuming, checkpoints=(), seam=SEAM.encode() if is_resuming else b"")
    with pytest.raises(WrongSession, match="not a checkpoint that we offered"):
        replay(agreement(said, {}).run(), manifest(NEW, said))


@pytest.mark.parametrize(
    "change",
    [
        {"resumed_from": bytes(31)},
        {"resumed_from": bytes(33)},
        {"resumed_from": "x" * 32},
        {"resumed_from": b""},
        {"resumed_phase": 0},
        {"resumed_phase": -1},
        {"resumed_phase": max(Phase) + 1},
        {"resumed_phase": int(Phase.ALIGN)},
        {"resumed_phase": int(Phase.FINISH)},
        {"resumed_phase": int(Phase.TEST)},  # with a batch
        {"resumed_phase": True},
        {"resumed_round": 0},
        {"resumed_round": -1},
        {"resumed_round": (1 << 31) + 1},
        {"resumed_batch": -1},
        {"resumed_batch": 1.0},
        {"seams": ()},
        {"seams": (b"", b"")},
        {"seams": (bytes(POSITION_BYTES - 1),)},
    ],
    ids=str,
)
def test_malformed_manifests(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        replace(manifest(), **change)


@pytest.mark.parametrize("field", ["resumed_phase", "resumed_round", "resumed_batch"])
def test_a_task_that_begins_has_no_place_to_go_on_from(field: str) -> None:
    with pytest.raises(InvalidInput, match="Manifest: a task that starts at its beginning"):
        replace(manifest(None), **{field: 1})
