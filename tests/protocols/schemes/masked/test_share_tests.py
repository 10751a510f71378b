"""Tests of openings: honest runs pass, when they come, what is not of them is refused, and their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.harness.pump import C, H, and_rest, pump
from protocols.core.errors import InvalidInput, MessageOutOfOrder, PeerViolation
from protocols.he.layout import best_layout, layout_with_tiles
from protocols.he.parameters import TRIPLES
from protocols.layer.messages import EqualityConfirmation, EqualityProof, StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import rows_of_test
from protocols.layer.weight_share import WeightShare
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedCheckReply,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.pieces import run_distance
from protocols.schemes.masked.shapes import MaskedShapes
from protocols.schemes.masked.share_test_order import ShareTestOrder
from protocols.schemes.masked.triples import FEATURE_GRADIENT, PROJECTION, TRAIN
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.test_messages import (
    FormQuery,
    MarkQuery,
    RelationQuery,
    RelationReply,
    SameShareQuery,
    ShareMark,
)
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.layer.helpers import tampering
from tests.protocols.schemes.masked.helpers import Layer, answering, layer_spec, values

ALWAYS = LayerParameters(check_every=3, test_shares_every=1)
QUESTIONS = (FormQuery, SameShareQuery, RelationQuery, MarkQuery)


class Whole:
    """Both ends, from the set-up on, and what they asked each other about shares."""

    def __init__(self, rows: int, d: int, o: int, trainable: bool = True, bounds: LayerParameters = ALWAYS) -> None:
        self.spec = layer_spec(rows, d, o, trainable)
        self.bounds, self.asked = bounds, list[str]()
        self.ends()
        self.talk(self.host.setup(), self.collaborator.setup())

    def ends(self) -> None:
        self.host = MaskedHost(self.spec, backend(TRIPLES), self.bounds)
        self.collaborator = MaskedCollaborator(self.spec, backend(TRIPLES), self.bounds)

    def talk(self, left: Any, right: Any) -> None:
        talk = pump(left, right)
        for who, sent in (("H", talk.from_left), ("C", talk.from_right)):
            self.asked += [f"{who} {type(message).__name__[:-5]}" for message in sent if isinstance(message, QUESTIONS)]

    def batch(self, rows: int, what: str, more: int = 0) -> list[str]:
        """What is asked in it."""
        self.asked.clear()
        kind, count = self.host.needs(what != "test", rows)
        if count + more:
            pump(self.host.triples.generate(kind, count + more), answering(self.collaborator.triples))
        features = values(rows, rows, self.spec.width_in)
        self.talk(
            and_rest(self.host, self.host.forward(rows, what != "test")),
            self.collaborator.forward(features, what != "test"),
        )
        if what == "skip":
            self.talk(self.host.skip(), closing(self.collaborator))
        if what == "step":
            dz = values(rows, rows, self.spec.width_out or 0, 0.1)
            self.talk(self.host.backward(dz, 0.1), closing(self.collaborator))
        return sorted(self.asked)

    def resume(self) -> None:
        self.talk(self.host.before_checkpoint(), self.collaborator.before_checkpoint())
        states = self.host.state(), self.collaborator.state()
        self.ends()
        self.talk(self.host.resume(states[0]), self.collaborator.resume(states[1]))


def closing(collaborator: MaskedCollaborator) -> Any:
    yield from collaborator.backward()
    yield from collaborator.settle()


@pytest.mark.parametrize(("d", "o"), [(5, 3), (3, 5)])
def test_honest_runs_pass(d: int, o: int) -> None:
    """Pieces, shares that are sent ahead, skipped batches, tests, a checkpoint and what is behind it."""
    run = Whole(6, d, o)
    assert run.asked == ["H Relation", "C Relation"]
    same, moved = ["C Form", "C SameShare"], ["C Form", "C Relation"]
    theirs = [line.replace("C", "H", 1) for line in same], [line.replace("C", "H", 1) for line in moved]
    assert run.batch(6, "step", more=1) == same + theirs[0]
    assert run.batch(6, "step") == moved + theirs[1]
    assert run.batch(3, "skip") == moved
    assert run.batch(6, "test") == same
    assert run.batch(14, "step") == sorted([*same * 3, *theirs[1], *theirs[0] * 2])
    run.asked.clear()
    run.resume()
    assert sorted(run.asked) == ["C Mark", "C Relation", "H Mark", "H Relation"]
    assert run.batch(6, "step") == same + theirs[0]


def test_of_a_frozen_bottom_model_only_the_hosts_share_is_tested() -> None:
    run = Whole(4, 3, 2, trainable=False)
    assert run.asked == ["C Relation"]
    assert run.batch(9, "test") == ["C Form"] * 3 + ["C SameShare"] * 3
    run.asked.clear()
    run.resume()
    assert run.asked == ["C Mark"]


def test_a_triple_of_one_row_has_one_place_and_no_form() -> None:
    run = Whole(1, 3, 2)
    assert run.batch(1, "step") == ["C SameShare", "H SameShare"]
    assert run.batch(1, "step") == ["C Relation", "H Relation"]


@pytest.mark.parametrize(("every", "asked"), [(0, 0), (1 << 29, 4)])
def test_without_a_coin_only_the_first_opening_is_tested(every: int, asked: int) -> None:
    run = Whole(4, 3, 2, bounds=LayerParameters(check_every=0, test_shares_every=every))
    assert [len(run.batch(4, "step")), len(run.batch(4, "step"))] == [asked, 0]
    halves = run.host.triples._shapes.bytes_per_triple
    assert (halves > 100_000) is (every > 0), "masks are kept encrypted where they may be tested"


def test_a_mask_is_kept_encrypted_by_who_tests_it_only() -> None:
    run = Whole(4, 3, 2)
    pump(run.host.triples.generate(TRAIN, 1), answering(run.collaborator.triples))
    ours, theirs = run.host.triples.take(TRAIN), run.collaborator.triples.take(TRAIN)
    assert [name for name, half in ours.halves.items() if half.operand] == [FEATURE_GRADIENT]
    assert [name for name, half in theirs.halves.items() if half.operand] == [PROJECTION]


CHANGES: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "another version": (SameShareQuery, lambda m: replace(m, version=m.version + 1)),
    "nonsense": (SameShareQuery, lambda m: replace(m, now=(b"\xff" * len(m.now[0]), *m.now[1:]))),
    "a part too few": (SameShareQuery, lambda m: replace(m, before=m.before[:-1])),
    "low order": (SameShareQuery, lambda m: replace(m, element=bytes(32))),
    "form of other rows": (FormQuery, lambda m: replace(m, rows=m.rows + 1)),
    "form of another version": (FormQuery, lambda m: replace(m, version=m.version + 1)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_malformed_questions_are_refused(how: str) -> None:
    layer, (kind, change) = Layer(layer_spec(4, 3, 2), parameters=ALWAYS), CHANGES[how]
    layer.stock_up(4)
    right = tampering(layer.collaborator.forward(values(0, 4, 3), True), kind, change)
    with pytest.raises((PeerViolation, InvalidInput)):
        pump(and_rest(layer.host, layer.host.forward(4, True)), right)


def test_a_question_about_a_step_is_not_waited_for_where_none_was() -> None:
    layer = Layer(layer_spec(4, 3, 2), parameters=ALWAYS)
    assert RelationQuery not in layer.host._tests._questions
    layer.stock_up(4)
    layer.forward(values(0, 4, 3))
    layer.backward(values(1, 4, 2, 0.1), 0.1)
    assert RelationQuery in layer.host._tests._questions


# Order ---------------------------------------------------------------------------------------------------------------

SHARES = [(H, HostShare), (C, CollaboratorShare)]
FORM = [(C, FormQuery), (H, EqualityProof), (C, EqualityConfirmation)]
SAME = [(C, SameShareQuery), (H, EqualityProof), (C, EqualityConfirmation)]
MOVED = [(C, RelationQuery), (H, RelationReply), (C, EqualityProof), (H, EqualityConfirmation)]
CHECK = [(H, MaskedCheck), (C, MaskedCheckReply), (H, EqualityProof), (C, EqualityConfirmation)]
OPEN, USE = (H, MaskedShare), (C, MaskedFeatures)
GOOD = {
    "first": [*SHARES, *MOVED, OPEN, *FORM, *SAME, USE, *CHECK],
    "two pieces": [OPEN, OPEN, *FORM, *SAME, *FORM, *SAME, USE, USE],
    "checkpoint": [(H, MaskedStep), *SHARES, *MOVED, (C, ShareMark), (H, ShareMark)],
    "ahead, and a test between": [OPEN, OPEN, *FORM, *SAME, USE, *FORM, *SAME, USE],
}
BAD = {
    "no opening": [*FORM],
    "an opening that was used": [OPEN, USE, *SAME],
    "twice": [OPEN, *SAME, *SAME],
    "a form twice": [OPEN, *FORM, *FORM],
    "openings that were passed over": [(C, MaskedGradientFeatures), (H, StepSkipped), (H, FormQuery)],
    "a question in a test": [OPEN, *FORM[:2], *SAME],
    "a result in a test": [OPEN, *FORM[:1], USE],
    "an answer to nothing": [(H, EqualityProof)],
    "an answer of the tester": [OPEN, FORM[0], (C, EqualityProof)],
    "a reply to another question": [OPEN, FORM[0], (H, RelationReply)],
    "shares twice": [*SHARES, *SHARES],
    "shares twice behind a step": [(H, MaskedStep), *SHARES, SHARES[0]],
    "a share is owed": [SHARES[0], *MOVED],
    "a mark of no share": [(C, ShareMark)],
    "two marks": [*SHARES, (C, ShareMark), (C, ShareMark)],
    "a mark in a test": [*SHARES, MOVED[0], (H, ShareMark)],
    "a check in a test": [OPEN, FORM[0], CHECK[0]],
    "a test in a check": [OPEN, CHECK[0], FORM[0]],
    "a gradient in a test": [(C, MaskedGradientFeatures), (H, FormQuery), (H, MaskedGradient)],
}


def take(messages: Any, trainable: bool = True) -> ShareTestOrder:
    order = ShareTestOrder(trainable)
    for message in messages:
        order.check(*message)
    return order


@pytest.mark.parametrize("what", GOOD)
def test_what_may_follow(what: str) -> None:
    take(GOOD[what]).check_finished()


@pytest.mark.parametrize("what", BAD)
def test_what_may_not_follow(what: str) -> None:
    with pytest.raises(MessageOutOfOrder):
        take(BAD[what])


def test_a_test_is_brought_to_its_end() -> None:
    with pytest.raises(MessageOutOfOrder):
        take([OPEN, FORM[0]]).check_finished()


@pytest.mark.parametrize(("rows", "d", "o"), [(128, 20, 20), (128, 20, 4), (40, 64, 64), (6, 3, 2), (64, 512, 256)])
def test_a_test_multiplies_in_the_very_shape_of_a_batch(rows: int, d: int, o: int) -> None:
    """What the theorem rests on: one linear map of the factor, whatever ciphertexts and keys hold."""
    shapes = MaskedShapes(d, o, ALWAYS)
    for tester in (H, C):
        used = shapes.of_owner(tester.other, rows)
        tiles = best_layout(used, TRIPLES)
        shape, count = shapes.share_test(tester, 0, rows)
        ours = layout_with_tiles(shape, TRIPLES, tiles.k_tile, tiles.n_tile)
        assert replace(ours, shape=used) == tiles
        assert count * rows >= rows_of_test(0) > (count - 1) * rows


@pytest.mark.parametrize("role", ["host", "collaborator"])
def test_the_declared_run_counts_the_tests(role: str) -> None:
    spec, squares = layer_spec(8, 4, 3), []
    for every in (0, 16, 1):
        bounds = LayerParameters(test_shares_every=every)
        share = WeightShare(spec, bounds, role, shapes=MaskedShapes)
        run = run_distance(role, spec, backend(TRIPLES), share, MaskedShapes(4, 3, bounds))
        squares.append(run.of(1000).squares)
    assert squares[0] < squares[1] < squares[2]
