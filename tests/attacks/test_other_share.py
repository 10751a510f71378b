"""A malicious collaborator says that its share of W is another, and reads dz instead of da.

It knows its own V. With [V + D] for large D the host answers dz (W + D) + e', of which dz D stands above the rest. What
the host shows is dz as `gradient_noise` and `label_privacy` have left it, so what they promise still holds. The weak
design is the protocol without the host's tests of that share (protocols/schemes/shares/relation_test.py). With them
one such lie in `test_shares_every` ends the task before dz is sent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols.core.errors import OutOfRange, VerificationFailed
from protocols.core.steps import Receive, Send, Steps
from protocols.he.interface import as_signed
from protocols.layer.messages import EqualityConfirmation
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Ring, add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import StepGradient
from tests.protocols.layer.helpers import QUIET, Layer, Watched, normal

D, O, ROWS, SHIFT = 3, 2, 5, 41  # noqa: E741
ALWAYS = LayerParameters(check_every=0, test_shares_every=1)


def added(value: int, *places: tuple[int, int]) -> Ring:
    lie = np.zeros((O, D), np.uint64)
    for place in places:
        lie[place] = value
    return lie


READING = added(1 << SHIFT, (0, 0), (1, 1))


def lying(lies: dict[int, Ring]) -> Any:
    """Makes a collaborator add these to its share in [V], by version."""

    def prepare(host: EncryptedHost, collaborator: EncryptedCollaborator) -> None:
        share, honest_send = collaborator._share, collaborator._send_share

        def send_another() -> Steps[None]:
            honest, steps = share.values, honest_send()
            share.values = add(honest, lies.get(share.version, np.zeros_like(honest)))
            message = next(steps)
            share.values = honest
            yield message

        collaborator._send_share = send_another  # type: ignore[method-assign]

    return prepare


def read_dz(layer: Layer) -> tuple[Any, Any]:
    """dz of the next step, and what the collaborator reads of it."""
    seen, decrypt = list[Any](), layer.collaborator._products.decrypt_gradient

    def watched(*arguments: Any) -> Any:
        seen.append(decrypt(*arguments))
        return seen[-1]

    layer.collaborator._products.decrypt_gradient = watched  # type: ignore[method-assign]
    dz = normal(4, ROWS, O, scale=0.1)
    with pytest.raises(OutOfRange):  # what an honest collaborator would say of such a da
        layer.backward(dz, 0.01)
    return dz, as_signed(seen[0])[:, :O].astype(float)


@pytest.mark.parametrize("version", [0, 1])
def test_an_untested_share_reads_the_gradient(version: int) -> None:
    layer = Layer(D, O, ROWS, parameters=QUIET, prepare=lying({version: READING}))
    for _ in range(version):
        layer.forward(normal(1, ROWS, D))
        layer.backward(normal(2, ROWS, O, scale=0.1), 0.01)
    layer.forward(normal(3, ROWS, D))
    dz, read = read_dz(layer)
    unit = float((read * dz).sum() / (read * read).sum())
    assert np.abs(unit * read - dz).max() < 0.002 * np.abs(dz).max()


LIES = {
    "reading": READING,
    "smallest": added(1, (0, 0)),
    "only the top bit": added(1 << 58, (1, 2)),
    "minus one": added((1 << 59) - 1, (0, 1)),
    "the top bit of all": np.full((O, D), 1 << 58, np.uint64),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_about_the_first_share_is_too_small(lie: str) -> None:
    with pytest.raises(VerificationFailed, match=r"the collaborator's share of the weights for side .* first weights"):
        Layer(D, O, ROWS, parameters=ALWAYS, prepare=lying({0: LIES[lie]}))


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
@pytest.mark.parametrize("lie", LIES)
def test_no_lie_about_a_step_is_too_small(lie: str, backend: str) -> None:
    layer = Layer(D, O, ROWS, backend=backend, parameters=ALWAYS, prepare=lying({1: LIES[lie]}))
    layer.forward(normal(1, ROWS, D))
    layer.backward(normal(2, ROWS, O, scale=0.1), 0.01)
    layer.forward(normal(3, ROWS, D))
    host = Watched(layer.host, "encrypt_step", "feature_gradient")
    with pytest.raises(VerificationFailed, match=r"the collaborator's share of the weights for side .* last step"):
        layer.backward(normal(4, ROWS, O, scale=0.1), 0.01)
    assert host.done == ["RelationQuery", "encrypt_step", "feature_gradient", "waits", "EqualityProof", "waits"]


def test_an_owner_that_hides_that_it_has_failed_is_sent_nothing() -> None:
    """It sees first that the values differ. If it confirms all the same, the host sees that too."""
    layer = Layer(D, O, ROWS, parameters=ALWAYS, prepare=lying({1: LIES["reading"]}))
    layer.forward(normal(1, ROWS, D))
    layer.backward(normal(2, ROWS, O, scale=0.1), 0.01)
    layer.forward(normal(3, ROWS, D))
    host, backward = Watched(layer.host), layer.collaborator.backward

    def hiding() -> Steps[Any]:
        try:
            yield from backward()
        except VerificationFailed:
            yield Send(EqualityConfirmation(bytes(32)))
            yield Receive(StepGradient)

    layer.collaborator.backward = hiding  # type: ignore[method-assign]
    with pytest.raises(VerificationFailed, match="the collaborator's share of the weights for side"):
        layer.backward(normal(4, ROWS, O, scale=0.1), 0.01)
    assert host.done == ["RelationQuery", "waits", "EqualityProof", "waits"]


def test_a_share_that_stood_still_is_a_lie() -> None:
    layer = Layer(D, O, ROWS, parameters=ALWAYS)
    share, encrypt = layer.collaborator._share, layer.collaborator._products.encrypt_share
    old = share.values.copy()
    layer.collaborator._products.encrypt_share = lambda values: encrypt(old)  # type: ignore[method-assign]
    layer.forward(normal(1, ROWS, D))
    layer.backward(normal(2, ROWS, O, scale=0.1), 0.01)
    layer.forward(normal(3, ROWS, D))
    with pytest.raises(VerificationFailed):
        layer.backward(normal(4, ROWS, O, scale=0.1), 0.01)


@pytest.mark.parametrize("knows_the_step", [False, True])
def test_a_step_by_other_features_passes_and_takes_a_guess_of_the_whole_step(knows_the_step: bool) -> None:
    """V' = V - R + D is W's step by features a* with (lr dz)^T (a - a*) = D: who knows the step can solve that."""
    size = 1 << 20
    layer = Layer(D, O, ROWS, parameters=ALWAYS, prepare=lying({1: added(size, (0, 0), (1, 1))}))
    dz, rate = np.zeros((ROWS, O), np.float32), 2.0**-4
    dz[0, 0] = dz[1, 1] = 2.0**-6  # in the ring, lr dz has 2^12 there
    layer.forward(normal(1, ROWS, D))
    layer.backward(dz, rate)
    layer.forward(normal(3, ROWS, D))
    honest = layer.collaborator._relation_test.answer

    def answer(products: Any, factor: Any, query: Any, rows: int) -> Steps[None]:
        other = factor.copy()
        other[0, 0] -= size >> 12 if knows_the_step else size >> 13
        other[1, 1] -= size >> 12
        return honest(products, other, query, rows)

    layer.collaborator._relation_test.answer = answer  # type: ignore[method-assign]
    if knows_the_step:
        layer.backward(dz, rate)
        return
    with pytest.raises(VerificationFailed):
        layer.backward(dz, rate)
