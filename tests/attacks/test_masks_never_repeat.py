"""Nothing that hides a value is used twice: not for the same batch, not in another run, not even with the same seed.

The weak design takes its masks from the run's seed, as one does to make runs repeatable: its openings and the moves of
its shares repeat in the second run, and their difference is the difference of what they hid.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from protocols.core.fixed_point import FEATURE_BITS
from protocols.core.message import Message
from protocols.core.randomness import SeededRandomness
from protocols.layer.messages import ProjectionKey, SecretsCommitment, StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import subtract
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import CheckQuery
from protocols.schemes.shares.test_messages import MarkQuery
from tests.protocols.layer.helpers import Layer, normal

CHECKED = LayerParameters(check_every=1, test_shares_every=1)  # chance would send other messages in each run


def seeded_masks(host: EncryptedHost, collaborator: EncryptedCollaborator) -> None:
    for role, end in (("host", host), ("collaborator", collaborator)):
        end._masks = SeededRandomness(7, role)
        end._share.secrets._seed = SeededRandomness(7, f"{role}'s seed").seed()


def one_run(backend: str, prepare=lambda host, collaborator: None) -> tuple[list[bytes], list[np.ndarray]]:
    """Every ciphertext, opening, share and move of a share in a run that sends the same batch twice; and its z."""
    layer = Layer(4, 3, 6, backend=backend, parameters=CHECKED, seed=7, prepare=prepare)
    a, dz = normal(1, 6, 4), normal(2, 6, 3, scale=0.1)
    hidden: list[bytes] = []
    z = []
    for _ in range(2):
        before = [end._share.values.copy() for end in (layer.host, layer.collaborator)]
        z.append(layer.forward(a))
        layer.skip()
        z.append(layer.forward(a))
        layer.backward(dz, 0.01)
        moves = [subtract(end._share.values, old) for end, old in zip((layer.host, layer.collaborator), before)]
        hidden += [array.tobytes() for array in (*before, *moves)]
    return hidden + hidden_in([*layer.view.from_host, *layer.view.from_collaborator]), z


def hidden_in(messages: Sequence[Message]) -> list[bytes]:
    """What stands in messages that must never repeat."""
    hidden: list[bytes] = []
    for message in messages:
        if isinstance(message, (ProjectionKey, SecretsCommitment, StepSkipped)):
            continue
        hidden += [part for name in ("parts", "old", "step", "new") for part in getattr(message, name, ())]
        if isinstance(message, CheckQuery):
            hidden.append(message.combination.tobytes())
        hidden += [value for name in ("element", "tag", "seed") if (value := getattr(message, name, None))]
    return hidden


def repeated(*runs: list[bytes]) -> int:
    """How many values occur more than once in all runs together."""
    counts = Counter(hashlib.sha256(value).digest() for run in runs for value in run)
    return sum(count > 1 for count in counts.values())


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_no_mask_ciphertext_or_opening_repeats(backend: str) -> None:
    (first, z), (second, again) = one_run(backend), one_run(backend)
    assert len(first) == len(second) > 30
    assert repeated(first, second) == 0
    # ... though both runs computed the very same thing:
    assert all(np.abs(one - other).max() < 2.0**-FEATURE_BITS for one, other in zip(z[:2], again[:2]))
    assert (z[0] == z[1]).all()  # and the same rows under the same weights got the same noise


def test_masks_from_the_runs_seed_would() -> None:
    (first, _), (second, _) = one_run("bfv", seeded_masks), one_run("bfv", seeded_masks)
    assert repeated(first, second) > 5
    assert repeated(first) == 0


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_two_resumptions_of_one_checkpoint_repeat_nothing(backend: str) -> None:
    """The combination by which a share was marked is asked again; under another key, and under another mask."""
    first = Layer(4, 3, 6, backend=backend, parameters=CHECKED, seed=7)
    first.forward(normal(1, 6, 4))
    first.backward(normal(2, 6, 3, scale=0.1), 0.01)
    states = first.states()
    runs = [Layer(4, 3, 6, backend=backend, parameters=CHECKED, seed=7, states=states) for _ in range(2)]
    sent = [[*layer.view.from_host, *layer.view.from_collaborator] for layer in runs]
    assert all(sum(isinstance(message, MarkQuery) for message in messages) == 2 for messages in sent)
    assert repeated(*[hidden_in(messages) for messages in sent]) == 0
