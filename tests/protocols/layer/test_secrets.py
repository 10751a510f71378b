"""Seeds and commitments of a layer's side: one opening each, in one session and round; labels are for one use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import C, H, pump
from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.message import Array
from protocols.core.steps import Send
from protocols.core.witness import Witness
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import SecretsCommitment
from protocols.layer.parameters import LayerParameters
from protocols.layer.secrets import LayerSecrets, salt_of, state_bytes, state_digest
from protocols.layer.weight_share import WeightShare
from protocols.schemes.encrypted.messages import Projection
from protocols.schemes.encrypted.order import CommitmentRules
from protocols.task.rounds import RoundStart
from tests.protocols.layer.helpers import Layer, normal

SPEC = LayerSpec("side", 3, 2, 4, True, bytes(32))
SEED = bytes(range(32))


def secrets(spec: LayerSpec = SPEC, role: str = "host", seed: bytes = SEED, number: int = 1) -> LayerSecrets:
    return LayerSecrets(spec, role, seed, number)


OTHERS = {
    "another seed": secrets(seed=bytes(32)),
    "another side": secrets(role="collaborator"),
    "another round": secrets(number=2),
    "another layer": secrets(replace(SPEC, feature_key="other")),
    "another session": secrets(replace(SPEC, session=bytes(31) + b"1")),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_commitment_is_to_one_seed_in_one_place(other: str) -> None:
    assert secrets().seed_digest() == secrets().seed_digest()
    assert OTHERS[other].seed_digest() != secrets().seed_digest()


def test_a_state_is_hidden_and_bound() -> None:
    share, key = np.arange(6, dtype=np.uint64).reshape(2, 3), bytes(32)
    state = state_bytes(5, key, share)
    commitment = secrets().commitment(state)
    assert commitment.state == state_digest(salt_of(SEED), state)
    for other in (state_bytes(6, key, share), state_bytes(5, SEED, share), state_bytes(5, key, share + np.uint64(1))):
        assert state_digest(salt_of(SEED), other) != commitment.state
    assert state_digest(salt_of(bytes(32)), state) != commitment.state
    assert SEED not in (salt_of(SEED), commitment.secrets)


def test_every_label_and_every_round_has_a_stream_of_its_own() -> None:
    drawn = [secrets().secret(label).bytes(32) for label in ("share", "mask 0", "mask 1", "rounding 0", "host")]
    drawn += [LayerSecrets(SPEC, "host").secret("share").bytes(32) for _ in range(2)]
    assert len(set(drawn)) == len(drawn)
    assert secrets().secret("share").bytes(32) == drawn[0]
    assert SEED.hex() not in repr(secrets())


def test_masks_of_a_round_are_its_seeds_and_never_come_again() -> None:
    share = WeightShare(SPEC, LayerParameters(), "collaborator")
    masks = []
    for number in (1, 2):
        share.begin_round(number)
        for _ in range(2):
            masks.append(share.step_mask().tobytes())
            share.next_version()
    assert len(set(masks)) == len(masks)


def test_noise_stays_with_the_version_in_force_when_a_round_begins() -> None:
    share = WeightShare(SPEC, LayerParameters(), "host")
    before = share.noise.key
    share.begin_round(1)
    assert share.noise.key == before
    share.next_version()
    assert share.noise.key != before


def test_a_repeatable_run_draws_as_before_and_masks_anew() -> None:
    one, other = (WeightShare(replace(SPEC, seed=5), LayerParameters(), "host") for _ in range(2))
    assert one.rounding().bytes(8) == other.rounding().bytes(8)
    assert (one.step_mask() != other.step_mask()).any()


class Heard(Witness):
    """Keeps what it is told, in memory."""

    is_keeping = True

    def __init__(self) -> None:
        self.notes: list[tuple[str, dict[str, Array]]] = []

    def note(self, name: str, **values: Array) -> None:
        self.notes.append((name, values))


def test_commitments_come_first_and_once_a_round() -> None:
    layer = Layer(3, 2, 4, seed=None)
    assert isinstance(layer.view.from_host[0], SecretsCommitment)
    assert isinstance(layer.view.from_collaborator[0], SecretsCommitment)
    for number in (1, 2):
        for end in (layer.host, layer.collaborator):
            end.begin_round(number)
        sent = len(layer.view.from_collaborator)
        for batch in range(2):
            layer.forward(normal(batch, 4, 3))
            layer.skip()
        round_one = layer.view.from_collaborator[sent:]
        assert [isinstance(each, SecretsCommitment) for each in round_one] == [True, False, False]
    commitments = [each for each in layer.view.from_host if isinstance(each, SecretsCommitment)]
    assert len({each.secrets for each in commitments}) == len(commitments) == 3


def test_a_side_that_does_not_commit_is_refused() -> None:
    layer = Layer(3, 2, 4, seed=None)
    layer.host.begin_round(1)
    steps: Any = layer.host.forward(4, True)
    step = next(steps)
    assert isinstance(step, Send)
    assert next(steps).types == (SecretsCommitment,)


def test_nobody_is_told_anything_unless_it_keeps() -> None:
    assert not Witness().is_keeping
    heard = Heard()
    spec = replace(SPEC, witness=heard)
    share = WeightShare(spec, LayerParameters(), "host")
    pump(share.commit(), WeightShare(SPEC, LayerParameters(), "collaborator").commit())
    (name, values), *rest = heard.notes
    assert (name, rest) == ("secrets", [])
    assert values["seed"].tobytes() == share.secrets._seed


def test_the_order_refuses_a_projection_before_both_have_committed() -> None:
    at, rules = (int(Phase.TRAIN), 1, 0), CommitmentRules()
    rules.check(H, RoundStart, at, (0, 0, 0))
    with pytest.raises(MessageOutOfOrder, match="collaborator and the host had not committed"):
        rules.check(C, Projection, at, (0,))
    rules.check(H, SecretsCommitment, at, ())
    with pytest.raises(MessageOutOfOrder, match="the collaborator had not committed"):
        rules.check(C, Projection, at, (0,))
    rules.check(C, SecretsCommitment, at, ())
    rules.check(C, Projection, at, (0,))
    with pytest.raises(MessageOutOfOrder, match="one for each round"):
        rules.check(C, SecretsCommitment, at, ())
