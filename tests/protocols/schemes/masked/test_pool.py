"""Triples made between the two parties: right in the ring, uniform and fresh, used once, and refused when tampered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import InvalidCiphertext, InvalidInput, MalformedMessage, PoolExhausted
from protocols.core.message import Message
from protocols.he.bfv import BfvBackend
from protocols.he.interface import RING_BITS
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.interface import LayerSpec
from protocols.layer.shapes import add
from protocols.schemes.masked.triple_messages import TripleOperand, TripleProduct, TripleRequest
from protocols.schemes.masked.triples import MAX_TOGETHER, TEST, TRAIN, Triple, TripleShapes
from tests.protocols.he.bfv_helpers import backend, secret
from tests.protocols.he.elsewhere import Elsewhere
from tests.protocols.schemes.masked.helpers import altered, answering, layer_spec, pools, product_of

SHAPES = [(1, 1, 1), (5, 3, 2), (7, 2, 9), (40, 6, 1), (13, 1, 4)]


def check(host: Triple, collaborator: Triple) -> None:
    assert host.index == collaborator.index
    assert host.halves.keys() == collaborator.halves.keys()
    for name in host.halves:
        ours, theirs = host[name], collaborator[name]
        assert np.array_equal(product_of(name, ours.mask, theirs.mask), add(ours.share, theirs.share)), name


@pytest.mark.parametrize(("rows", "d", "o"), SHAPES)
def test_triples_are_right_in_the_ring(rows: int, d: int, o: int) -> None:
    host, collaborator = pools(layer_spec(rows, d, o))
    pump(host.generate(TRAIN, 2), answering(collaborator))
    pump(host.generate(TEST), answering(collaborator))
    pump(host.generate(TRAIN), answering(collaborator))
    assert (host.stock(TRAIN), host.stock(TEST)) == (collaborator.stock(TRAIN), collaborator.stock(TEST)) == (3, 1)
    for kind, count, products in ((TRAIN, 3, 3), (TEST, 1, 1)):
        for index in range(count):
            ours = host.take(kind)
            assert (ours.index, len(ours.halves)) == (index, products)
            check(ours, collaborator.take(kind))


def test_triples_whose_products_are_made_elsewhere_are_right() -> None:
    elsewhere = Elsewhere()
    multiplying = BfvBackend(TRIPLES, distant=elsewhere)
    host, collaborator = pools(layer_spec(5, 3, 2))
    for pool, number in ((host, 1), (collaborator, 0)):
        pool._public = multiplying.load_public(secret(TRIPLES, number).public_key())
    pump(host.generate(TRAIN), answering(collaborator))
    check(host.take(TRAIN), collaborator.take(TRAIN))
    assert len(elsewhere.asked) == 3


def test_a_frozen_model_has_no_triples_for_its_gradient() -> None:
    host, collaborator = pools(layer_spec(4, 3, 2, trainable=False))
    talk = pump(host.generate(TRAIN), answering(collaborator))
    check(host.take(TRAIN), collaborator.take(TRAIN))
    sent = talk.from_left + talk.from_right
    assert Counter((type(message), getattr(message, "product", "")) for message in sent) == {
        (TripleRequest, ""): 1,
        (TripleOperand, "projection"): 1,
        (TripleProduct, "projection"): 1,
        (TripleOperand, "weight_gradient"): 1,
        (TripleProduct, "weight_gradient"): 1,
    }


def test_ciphertexts_of_a_few_triples_go_together() -> None:
    host, collaborator = pools(layer_spec(2, 2, 2))
    count = MAX_TOGETHER + 1
    talk = pump(host.generate(TRAIN, count), answering(collaborator))
    operands = [message for message in talk.from_right if isinstance(message, TripleOperand)]
    assert [(each.index, each.count, len(each.parts)) for each in operands] == [
        (0, MAX_TOGETHER, MAX_TOGETHER),
        (MAX_TOGETHER, 1, 1),
    ]
    for _ in range(count):
        check(host.take(TRAIN), collaborator.take(TRAIN))


def test_triples_of_a_wide_layer_go_one_by_one() -> None:
    assert TripleShapes(layer_spec(128, 128, 128), backend(TRIPLES)).together == 1


def test_masks_and_shares_are_fresh_everywhere() -> None:
    """Every mask and share of every triple, of both parties and two runs, has entries that occur once."""
    seen: list[int] = []
    for _ in range(2):
        host, collaborator = pools(layer_spec(6, 5, 4))
        pump(host.generate(TRAIN, 2), answering(collaborator))
        for triples in (host, collaborator):
            for _ in range(2):
                for half in triples.take(TRAIN).halves.values():
                    seen += half.mask.reshape(-1).tolist() + half.share.reshape(-1).tolist()
    assert len(set(seen)) == len(seen)
    assert sum(value >> (RING_BITS - 1) for value in seen) == pytest.approx(len(seen) / 2, abs=5 * len(seen) ** 0.5)


def test_an_empty_stock_raises_and_says_whose() -> None:
    host, collaborator = pools(layer_spec(2, 2, 2))
    for triples in (host, collaborator):
        with pytest.raises(PoolExhausted, match="patient needs 1 train"):
            triples.take(TRAIN)
        with pytest.raises(PoolExhausted, match="needs 3 test triples and has 0"):
            triples.require(TEST, 3)
    pump(host.generate(TRAIN), answering(collaborator))
    host.take(TRAIN)
    with pytest.raises(PoolExhausted):
        host.take(TRAIN)


def test_the_collaborator_has_every_triple_that_the_host_has() -> None:
    """At every message: the host leads the online phase, so its peer must not be found empty."""
    host, collaborator = pools(layer_spec(3, 2, 2))
    stocks = []

    def watch(message: Message) -> Message:
        stocks.append((host.stock(TRAIN), collaborator.stock(TRAIN)))
        return message

    count = 2 * MAX_TOGETHER + 1
    pump(altered(host.generate(TRAIN, count), watch), altered(answering(collaborator), watch))
    assert all(ours <= theirs for ours, theirs in stocks)
    assert max(ours for ours, _ in stocks) == 2 * MAX_TOGETHER


def test_one_thread_makes_while_another_takes() -> None:
    host, collaborator = pools(layer_spec(2, 2, 2))
    maker = Thread(target=lambda: pump(host.generate(TRAIN, 6), answering(collaborator)))
    maker.start()
    taken: list[Triple] = []
    while maker.is_alive() or host.stock(TRAIN):
        maker.join(1e-3)
        while host.stock(TRAIN):
            taken.append(host.take(TRAIN))
            check(taken[-1], collaborator.take(TRAIN))
    assert [triple.index for triple in taken] == list(range(6))


@pytest.mark.parametrize("index", [1, 5])
def test_a_request_that_skips_or_repeats_is_refused(index: int) -> None:
    host, collaborator = pools(layer_spec(2, 2, 2))
    with pytest.raises(MalformedMessage, match=f"train triple {index}; the next here is 0"):
        next(collaborator.serve(TripleRequest(TRAIN, index, 1)))
    pump(host.generate(TRAIN), answering(collaborator))
    with pytest.raises(MalformedMessage, match="the next here is 1"):
        next(collaborator.serve(TripleRequest(TRAIN, 0, 1)))


def wrong_index(message: Message) -> Message:
    return replace(message, index=message.index + 1)  # type: ignore[attr-defined,call-arg]


def wrong_product(message: Message) -> Message:
    other = "weight_gradient" if message.product != "weight_gradient" else "projection"  # type: ignore[attr-defined]
    return replace(message, product=other)  # type: ignore[call-arg]


def cut_short(message: Message) -> Message:
    parts = message.parts  # type: ignore[attr-defined]
    return replace(message, parts=(parts[0][:-1], *parts[1:]))  # type: ignore[call-arg]


def one_more(message: Message) -> Message:
    parts = message.parts  # type: ignore[attr-defined]
    return replace(message, parts=(*parts, parts[-1]))  # type: ignore[call-arg]


def wrong_count(message: Message) -> Message:
    return replace(message, count=2, parts=2 * message.parts)  # type: ignore[attr-defined,call-arg]


@pytest.mark.parametrize("from_host", [True, False])
@pytest.mark.parametrize("kind", [TripleOperand, TripleProduct])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (wrong_index, MalformedMessage),
        (wrong_product, MalformedMessage),
        (wrong_count, MalformedMessage),
        (cut_short, InvalidCiphertext),
        (one_more, InvalidCiphertext),
    ],
)
def test_a_tampered_part_is_refused(
    from_host: bool, kind: type[Message], change: Callable[[Message], Message], error: type[Exception]
) -> None:
    host, collaborator = pools(layer_spec(2, 3, 2))

    def tamper(message: Message) -> Message:
        return change(message) if isinstance(message, kind) else message

    ours, theirs = host.generate(TRAIN), answering(collaborator)
    if from_host:
        ours = altered(ours, tamper)
    else:
        theirs = altered(theirs, tamper)
    with pytest.raises(error):
        pump(ours, theirs)
    assert host.stock(TRAIN) == 0
    assert from_host <= (collaborator.stock(TRAIN) == 0)


def test_the_own_operand_sent_back_is_refused() -> None:
    """A reflected ciphertext is under the wrong key."""
    host, _ = pools(layer_spec(2, 2, 2))
    steps = host.generate(TRAIN)
    sent = [next(steps), next(steps), next(steps)]
    next(steps)
    operand = next(step.message for step in sent if getattr(step.message, "product", "") == "projection")  # type: ignore[union-attr]
    with pytest.raises(InvalidCiphertext, match="another key"):
        steps.send(TripleOperand(0, 1, "feature_gradient", operand.parts))  # type: ignore[attr-defined]


def test_bad_arguments_are_refused() -> None:
    host, _ = pools(layer_spec(2, 2, 2))
    for kind, count in (("other", 1), (TRAIN, 0), (TRAIN, (1 << 10) + 1)):
        with pytest.raises(InvalidInput):
            next(host.generate(kind, count))
    with pytest.raises(InvalidInput, match="needs the projection layer"):
        TripleShapes(LayerSpec("patient", 2, None, 2, True, bytes(32)), backend())
    with pytest.raises(InvalidInput, match="noisier"):
        TripleShapes(layer_spec(128, 20, 20), backend(TRAINING))


def test_nothing_secret_is_shown() -> None:
    host, collaborator = pools(layer_spec(2, 2, 2))
    pump(host.generate(TRAIN), answering(collaborator))
    assert repr(host) == "<HostTriples 1 train, 0 test>"
    triple = collaborator.take(TRAIN)
    assert repr(triple) == "<Triple 0>"
    assert str(int(triple["projection"].mask[0, 0])) not in repr(triple["projection"])
