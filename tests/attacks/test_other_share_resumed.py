"""A malicious party comes back from an interruption with another share of W than it had, and reads what it likes by it.

Nothing that its peer knows of W says what the share was. The weak design tests first shares and steps, but not a share
behind a resumption: whoever interrupts the run gets a lie for nothing. Ours has marked the share before the checkpoint
(protocols/schemes/shares/share_marks.py).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from protocols.core.errors import CallOutOfOrder, InvalidInput, OutOfRange, VerificationFailed
from protocols.core.fixed_point import FEATURE_BITS
from protocols.core.randomness import OsRandomness, expand
from protocols.core.steps import Steps
from protocols.he.interface import as_signed
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import FIRST_TEST_ROWS, Ring, add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.shares.relation_test import ternary
from protocols.schemes.shares.test_messages import ShareQuery
from tests.protocols.layer.helpers import QUIET, Layer, normal

D, O, ROWS, SHIFT = 3, 2, 5, 39  # noqa: E741
NEVER_A_STEP = LayerParameters(check_every=0, test_shares_every=1 << 29)
"""First shares and resumptions are tested; the coin of a step says no."""


def added(value: int, *places: tuple[int, int]) -> Ring:
    lie = np.zeros((O, D), np.uint64)
    for place in places:
        lie[place] = value
    return lie


LIES = {
    "reading": added(1 << SHIFT, (0, 0), (1, 1)),
    "smallest": added(1, (0, 0)),
    "only the top bit": added(1 << 58, (1, 2)),
    "the top bit of all": np.full((O, D), 1 << 58, np.uint64),
}


def lying(who: str, lie: Ring) -> Any:
    """Makes one side say that its share is another; it goes on to hold the true one."""

    def prepare(host: EncryptedHost, collaborator: EncryptedCollaborator) -> None:
        end: Any = host if who == "host" else collaborator
        name = "_exchange_shares" if who == "host" else "_send_share"
        honest = getattr(end, name)

        def send_another() -> Steps[None]:
            share, own = end._share, end._share.values
            share.values = add(own, lie)
            steps = honest()
            message = next(steps)
            share.values = own
            answer = yield message
            while True:
                try:
                    answer = yield steps.send(answer)
                except StopIteration:
                    return

        setattr(end, name, send_another)

    return prepare


def trained(parameters: LayerParameters, trainable: bool = True, backend: str = "bfv") -> Layer:
    layer = Layer(D, O, ROWS, trainable, backend, parameters)
    if trainable:
        layer.forward(normal(1, ROWS, D))
        layer.backward(normal(2, ROWS, O, scale=0.1), 0.1)
    return layer


def test_an_unmarked_share_reads_features() -> None:
    """The old behaviour, in which tests of shares are as if they were not there."""
    states, a = trained(QUIET).states(), normal(3, ROWS, D)
    later = Layer(D, O, ROWS, parameters=QUIET, states=states, prepare=lying("host", LIES["reading"]))
    decrypted = list[Any]()
    decrypt = later.host._products.decrypt_projection

    def watched(*arguments: Any) -> Any:
        decrypted.append(decrypt(*arguments))
        return decrypted[-1]

    later.host._products.decrypt_projection = watched  # type: ignore[method-assign]
    with suppress(OutOfRange):  # what an honest host would say of such a z
        later.forward(a)
    read = as_signed(decrypted[0]).astype(float) * 2.0 ** -(SHIFT + FEATURE_BITS)
    assert np.abs(read - a[:, :O]).max() < 0.05


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("who", ["host", "collaborator"])
def test_no_other_share_is_too_like(who: str, lie: str) -> None:
    states = trained(NEVER_A_STEP).states()
    with pytest.raises(VerificationFailed, match=f"the {who} has come back with another share of the weights for side"):
        Layer(D, O, ROWS, parameters=NEVER_A_STEP, states=states, prepare=lying(who, LIES[lie]))


def test_another_share_is_found_with_paillier_and_by_a_frozen_bottom_models_owner() -> None:
    for trainable, backend in ((True, "paillier"), (False, "bfv")):
        states = trained(NEVER_A_STEP, trainable, backend).states()
        arguments = (D, O, ROWS, trainable, backend, NEVER_A_STEP)
        with pytest.raises(VerificationFailed, match="the host has come back"):
            Layer(*arguments, states=states, prepare=lying("host", LIES["smallest"]))


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_share_that_was_false_in_the_last_step_before_a_checkpoint_is_only_tested_if_the_run_goes_on(
    is_interrupted: bool,
) -> None:
    """A limit that SECURITY.md states: the coin of that step goes with the conversation, and the mark is of the lie."""
    always, lie = LayerParameters(check_every=0, test_shares_every=1), LIES["smallest"]
    layer = Layer(D, O, ROWS, parameters=always)
    layer.forward(normal(1, ROWS, D))
    lying("host", lie)(layer.host, layer.collaborator)
    layer.backward(normal(2, ROWS, O, scale=0.1), 0.1)
    states, a = layer.states(), normal(3, ROWS, D)
    if not is_interrupted:
        with pytest.raises(VerificationFailed, match="the host's share of the weights for side is not the one before"):
            layer.forward(a)
        return
    later = Layer(D, O, ROWS, parameters=always, states=states, prepare=lying("host", lie))
    later.forward(a)
    assert not [message for message in later.view.from_collaborator if isinstance(message, ShareQuery)]


def test_an_older_share_is_another() -> None:
    """A host with the checkpoint before: of the same task, and once true."""
    layer = trained(NEVER_A_STEP)
    old = layer.states()
    layer.forward(normal(3, ROWS, D))
    layer.backward(normal(4, ROWS, O, scale=0.1), 0.1)
    new = layer.states()
    mixed = {**new[0], "share": old[0]["share"]}
    with pytest.raises(VerificationFailed, match="the host has come back"):
        layer.resumed((mixed, new[1]))
    with pytest.raises(VerificationFailed, match="the collaborator has come back"):
        layer.resumed((new[0], {**new[1], "share": old[1]["share"]}))


@pytest.mark.parametrize(("trainable", "backend"), [(True, "bfv"), (False, "bfv"), (True, "paillier")])
def test_an_honest_resumption_never_fails(trainable: bool, backend: str) -> None:
    """From the set-up and behind steps, again and again from one checkpoint, and from one that was resumed."""
    layer = Layer(D, O, ROWS, trainable, backend, NEVER_A_STEP)
    for number in range(2):
        states = layer.states()
        if number == 0:
            layer.resumed(states)
        layer = layer.resumed(states)
        layer.forward(normal(1, ROWS, D))
        if trainable:
            layer.backward(normal(2, ROWS, O, scale=0.1), 0.1)
        else:
            layer.skip()


def test_a_prediction_tests_the_hosts_share_by_the_mark_that_training_left() -> None:
    states = trained(NEVER_A_STEP).states()
    Layer(D, O, ROWS, False, parameters=NEVER_A_STEP, states=states)
    arguments = (D, O, ROWS, False, "bfv", NEVER_A_STEP)
    with pytest.raises(VerificationFailed, match="the host has come back"):
        Layer(*arguments, states=states, prepare=lying("host", LIES["smallest"]))


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_each_row_lets_one_lie_in_two_pass(rows: int) -> None:
    """The bound of the theorem is met by a lie in one entry; ours has 40 rows."""
    assert FIRST_TEST_ROWS == 40
    randomness, tries, lie = expand(OsRandomness().seed()), 4000, np.ascontiguousarray(LIES["smallest"].T)
    passed = sum(not matmul(ternary(randomness, rows, D), lie).any() for _ in range(tries))
    wanted = tries * 2.0**-rows
    assert abs(passed - wanted) < 6 * np.sqrt(wanted)


def test_a_checkpoint_has_a_mark_of_the_share_in_force_or_there_is_none() -> None:
    layer = trained(NEVER_A_STEP)
    for end in (layer.host, layer.collaborator):
        with pytest.raises(CallOutOfOrder, match="both sides mark the shares"):
            end.state()
    host, collaborator = layer.states()
    for name in ("mark_combination", "mark_mask", "mark_result"):
        with pytest.raises(InvalidInput, match=f"lacks {name}"):
            layer.resumed(({each: host[each] for each in host if each != name}, collaborator))
    wrongs = ("mark_combination", 2), ("mark_combination", -(1 << 63)), ("mark_mask", 1 << 59), ("mark_result", 1 << 59)
    for name, wrong in wrongs:
        with pytest.raises(InvalidInput, match=name):
            layer.resumed((host, {**collaborator, name: np.full_like(collaborator[name], wrong)}))


def test_no_repr_shows_a_mark() -> None:
    layer = trained(NEVER_A_STEP)
    layer.states()
    marks = layer.collaborator._marks
    assert "array" not in repr(marks._mark) + repr(marks)
