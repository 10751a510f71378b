"""In scheme "masked" a party opens another matrix than its share of W, and reads features, or gradients.

A host's opening of a batch, U - M, is uniform, and M is its own half of a triple: with U + D in it for a large D, the
host gets z + a D^T, of which a D^T stands above the rest, and the check of z holds. A collaborator gets da + dz D by
its V - N. The weak design is the protocol without the tests of openings (protocols/schemes/masked/share_tests.py). With
them one such lie in `test_shares_every` ends the task before z, or what depends on dz, is sent.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import OutOfRange, VerificationFailed
from protocols.core.fixed_point import FEATURE_BITS
from protocols.he.interface import as_signed
from protocols.he.layout import Layout
from protocols.he.parameters import TRIPLES
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Ring, add
from protocols.schemes.masked import share_tests
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.triples import FEATURE_GRADIENT, PROJECTION, TRAIN, WEIGHT_GRADIENT, Half
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.layer.helpers import Watched, normal
from tests.protocols.schemes.masked.helpers import EVERY_BATCH, QUIET, Layer, layer_spec

D, O, ROWS, SHIFT = 4, 3, 6, 39  # noqa: E741
ALWAYS = LayerParameters(check_every=0, test_shares_every=1)
NO_COIN = LayerParameters(check_every=0, test_shares_every=1 << 29)
"""The first opening of a conversation is tested, and what checkpoints are made of; no coin says that another is."""
SIDES = ("host", "collaborator")


def added(value: int, *places: tuple[int, int]) -> Ring:
    lie = np.zeros((O, D), np.uint64)
    for place in places:
        lie[place] = value
    return lie


READING = added(1 << SHIFT, *((at, at) for at in range(O)))
LIES = {
    "reading": READING,
    "smallest": added(1, (0, 0)),
    "only the top bit": added(1 << 58, (1, 2)),
    "the top bit of all": np.full((O, D), 1 << 58, np.uint64),
}


def lie_in_openings(end: Any, lie: Ring) -> None:
    """From here on the end adds this to its share in what it opens."""
    name = "masked_share" if isinstance(end, MaskedHost) else "gradient_features"
    honest = getattr(end._products, name)

    def opening(*arguments: Any) -> Any:
        message = honest(*arguments)
        return replace(message, share=add(message.share, lie))

    setattr(end._products, name, opening)


def end_of(layer: Layer, who: str) -> Any:
    return layer.host if who == "host" else layer.collaborator


def peer_of(layer: Layer, who: str) -> Watched:
    """What the other end does, and when it computes what is made from an opening: z's share, or da's."""
    if who == "host":
        return Watched(layer.collaborator, "projection")
    return Watched(layer.host, "feature_gradient")


def batch(layer: Layer, number: int = 0) -> None:
    layer.stock_up(ROWS)
    run(layer, ROWS, number)


def run(layer: Layer, rows: int, number: int = 0) -> None:
    layer.forward(normal(number, rows, D))
    layer.backward(normal(number + 50, rows, O, scale=0.1), 0.1)


def batches(layer: Layer) -> None:
    for number in range(2):
        batch(layer, number)


def test_an_untested_opening_reads_features_and_the_check_holds() -> None:
    layer, a = Layer(layer_spec(ROWS, D, O), parameters=EVERY_BATCH), normal(1, ROWS, D)
    layer.stock_up(ROWS)
    share, checked = layer.host._share, list[Any]()
    share.values = add(share.values, READING)
    check = layer.host._check

    def watched(projection: Any, *others: Any) -> Any:
        checked.append(projection)
        return check(projection, *others)

    layer.host._check = watched  # type: ignore[method-assign]
    layer.forward(a)
    assert checked, "there was no check"
    read = as_signed(checked[0]).astype(float) * 2.0 ** -(SHIFT + FEATURE_BITS)
    assert np.abs(read - a[:, :O]).max() < 0.05


def test_an_untested_opening_reads_the_gradient() -> None:
    layer, dz, seen = Layer(layer_spec(ROWS, D, O), parameters=QUIET), normal(2, ROWS, O, scale=0.1), list[Any]()
    lie = added(1 << 41, *((at, at) for at in range(O)))
    layer.stock_up(ROWS)
    lie_in_openings(layer.collaborator, lie)
    share, decrypt = layer.collaborator._share, layer.collaborator._products.feature_gradient

    def of_the_other(*arguments: Any) -> Any:
        own, share.values = share.values, add(share.values, lie)
        seen.append(decrypt(*arguments))
        share.values = own
        return seen[-1]

    layer.collaborator._products.feature_gradient = of_the_other  # type: ignore[method-assign]
    layer.forward(normal(1, ROWS, D))
    with suppress(OutOfRange):  # what an honest collaborator would say of such a da
        layer.backward(dz, 0.01)
    read = as_signed(seen[0])[:, :O].astype(float)
    unit = float((read * dz).sum() / (read * read).sum())
    assert np.abs(unit * read - dz).max() < 0.005 * np.abs(dz).max()


@pytest.mark.parametrize("is_stepped", [False, True])
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("who", SIDES)
def test_no_lie_is_too_small(who: str, lie: str, is_stepped: bool) -> None:
    layer = Layer(layer_spec(ROWS, D, O), parameters=ALWAYS)
    if is_stepped:
        batch(layer)
    lie_in_openings(end_of(layer, who), LIES[lie])
    peer = peer_of(layer, who)
    with pytest.raises(VerificationFailed, match=f"the {who}'s share of the weights for patient is not the one before"):
        batch(layer, 1)
    made = "projection" if who == "host" else "feature_gradient"
    asked = (
        ["RelationQuery", made, "waits", "EqualityProof", "waits"] if is_stepped else ["SameShareQuery", made, "waits"]
    )
    first = peer.done.index("FormQuery")
    assert peer.done[first:] == ["FormQuery", "waits", "EqualityConfirmation", *asked]


def ends(rows: int = ROWS) -> tuple[MaskedHost, MaskedCollaborator]:
    spec = layer_spec(rows, D, O)
    return MaskedHost(spec, backend(TRIPLES), NO_COIN), MaskedCollaborator(spec, backend(TRIPLES), NO_COIN)


def lie_when_encrypting(end: Any, lie: Ring) -> None:
    """What the end encrypts for a test is its share and this."""
    opens = end._tests.open

    def opened(keys: Any) -> None:
        opens(keys)
        products = end._tests._products
        honest = products.encrypt_share
        products.encrypt_share = lambda values: honest(add(values, lie))

    end._tests.open = opened


@pytest.mark.parametrize("who", SIDES)
def test_the_first_share_is_what_the_set_up_gave(who: str) -> None:
    host, collaborator = ends()
    lie_when_encrypting(host if who == "host" else collaborator, LIES["only the top bit"])
    with pytest.raises(VerificationFailed, match=f"the {who}'s share of the weights for patient is not its part of"):
        pump(host.setup(), collaborator.setup())


@pytest.mark.parametrize("who", SIDES)
def test_the_first_opening_is_of_the_share_that_was_encrypted(who: str) -> None:
    layer = Layer(layer_spec(ROWS, D, O), parameters=NO_COIN)
    lie_in_openings(end_of(layer, who), LIES["smallest"])
    with pytest.raises(VerificationFailed, match="not the one before"):
        batch(layer)


@pytest.mark.parametrize("is_of_the_opening", [False, True])
@pytest.mark.parametrize("who", SIDES)
def test_another_share_behind_a_resumption_is_found(who: str, is_of_the_opening: bool) -> None:
    """The encrypted one by its mark; and the first opening must be of that."""
    layer = Layer(layer_spec(ROWS, D, O), parameters=NO_COIN)
    batch(layer)
    states = layer.states()
    later = ends()
    liar = later[0] if who == "host" else later[1]
    if is_of_the_opening:
        resumed = layer.resumed(states)
        lie_in_openings(end_of(resumed, who), LIES["the top bit of all"])
        with pytest.raises(VerificationFailed, match="not the one before"):
            batch(resumed)
        return
    lie_when_encrypting(liar, LIES["the top bit of all"])
    with pytest.raises(VerificationFailed, match=f"the {who} has come back with another share"):
        pump(later[0].resume(states[0]), later[1].resume(states[1]))


@pytest.mark.parametrize("who", SIDES)
def test_what_a_checkpoint_is_made_of_is_always_tested(who: str) -> None:
    layer = Layer(layer_spec(ROWS, D, O), parameters=NO_COIN)
    batch(layer)
    products = end_of(layer, who)._tests._products
    honest = products.encrypt_share
    products.encrypt_share = lambda values: honest(add(values, LIES["smallest"]))
    with pytest.raises(VerificationFailed, match=f"the {who}'s share of the weights for patient is not the one before"):
        layer.states()


def test_a_share_that_did_not_move_is_another() -> None:
    layer = Layer(layer_spec(ROWS, D, O), parameters=ALWAYS)
    layer.host._products.move = lambda piece: None  # type: ignore[method-assign]
    with pytest.raises(VerificationFailed):
        batches(layer)


@pytest.mark.parametrize("is_stepped", [False, True])
def test_a_lie_that_stays(is_stepped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No coin asks for the opening in which it begins. Documented: over a step that was its one chance to be found."""
    bounds = LayerParameters(check_every=0, test_shares_every=16)
    layer, asks = Layer(layer_spec(ROWS, D, O), parameters=bounds), [True]
    monkeypatch.setattr(share_tests, "is_drawn", lambda randomness, every: asks[0])
    batch(layer) if is_stepped else batch_of_a_test(layer)
    asks[0] = False
    share = layer.host._share
    share.values = add(share.values, LIES["smallest"])
    batch(layer, 1) if is_stepped else batch_of_a_test(layer)
    asks[0] = True
    if is_stepped:
        batch(layer, 2)
        return
    with pytest.raises(VerificationFailed, match="not the one before"):
        batch_of_a_test(layer)


def batch_of_a_test(layer: Layer) -> None:
    """A batch of a test, in which the weights stand still."""
    layer.stock_up(ROWS, training=False)
    layer.forward(normal(0, ROWS, D), training=False)


def test_a_wrong_product_moves_one_share_by_what_the_others_test_does_not_allow() -> None:
    """G^T A' with an error, of whichever side's: W does not move by (lr dz)^T a."""
    layer = Layer(layer_spec(ROWS, D, O), parameters=ALWAYS)
    layer.stock_up(ROWS)
    stock = layer.collaborator.triples._stock[TRAIN]
    half = stock[0][WEIGHT_GRADIENT]
    wrong = Half(half.mask, add(half.share, LIES["smallest"]))
    stock[0] = replace(stock[0], halves={**stock[0].halves, WEIGHT_GRADIENT: wrong})
    with pytest.raises(VerificationFailed):
        batches(layer)


MORE_ROWS, GAIN = 40, 1 << 40


@pytest.mark.parametrize("product", [PROJECTION, FEATURE_GRADIENT])
def test_a_mask_that_is_more_than_a_matrix_is_found(product: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """[M]_H or [N]_C has an entry where none of its matrix lies: it adds a row's factor to rows further down."""
    layer, honest = Layer(layer_spec(MORE_ROWS, D, O), parameters=NO_COIN), Layout.operand

    def operand(self: Layout, matrix: Ring) -> Ring:
        entries = honest(self, matrix)
        if (self.shape.k, self.shape.n) != ((D, O) if product == PROJECTION else (O, D)):
            return entries
        more = np.zeros((len(entries), self.degree), np.uint64)
        more[:, : entries.shape[1]] = entries
        more[:, 2 * self.k_tile * self.n_tile] = GAIN
        return more

    with monkeypatch.context() as patched:
        patched.setattr(Layout, "operand", operand)
        layer.stock_up(MORE_ROWS)
    peer = peer_of(layer, "host" if product == PROJECTION else "collaborator")
    with pytest.raises(VerificationFailed, match="ciphertexts or keys for patient hold more"):
        run(layer, MORE_ROWS)
    assert peer.done[-2:] == ["FormQuery", "waits"], "the question about the share is made, and not sent"
