"""Set-up of a secret-shared layer: keys, and initial weights that neither party knows.

    collaborator                                        host
    ProjectionKey                <------------------->  ProjectionKey
    B orthogonal, [B]_C          --- InitialFactor -->  A orthogonal, U uniform
    V = A B - U                  <-- InitialShare ----  [A B - U]_C

W = U + V = A B has all singular values 1; what A or B alone says of it stands in protocols/layer/reference.py.
U and V are each uniform in the ring.

**Leaks** nothing.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import DistanceBudget
from protocols.core.errors import MalformedMessage, WrongSession
from protocols.core.fixed_point import FACTOR_BITS
from protocols.core.randomness import Randomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend, CiphertextBundle, PublicSide, SecretSide, as_ring
from protocols.he.metered import MeteredPublic
from protocols.layer.messages import InitialFactor, InitialShare, ProjectionKey
from protocols.layer.reference import orthogonal_factor
from protocols.layer.shapes import Integers, Ring, negative
from protocols.layer.weight_share import WeightShare


class Keys(NamedTuple):
    """A party's own key pair, and the peer's public key."""

    secret: SecretSide
    public: PublicSide


class FirstShare(NamedTuple):
    """A party's share of the first weights, [o, d], and its factor of them: A [o, m] or B [m, d] at its fixed point."""

    values: Ring
    factor: Integers

    def __repr__(self) -> str:
        return "FirstShare(<secret>)"


def exchange_keys(backend: Backend, label: str, budget: DistanceBudget) -> Steps[Keys]:
    """Make a key pair and swap public keys; both sides run this.

    Args:
        backend: the encryption scheme.
        label: of a repeatable run.
        budget: what products under the peer's key may still show of this party's secrets.

    Raises:
        WrongSession: the peer reflected our own key.
        InvalidCiphertext: the peer's key does not fit the parameter set.
    """
    secret = backend.generate(label)
    yield Send(ProjectionKey(secret.public_key()))
    peer = received((yield Receive(ProjectionKey)), ProjectionKey)
    if hmac.compare_digest(peer.public_key, secret.public_key()):
        raise WrongSession("the peer sent our own public key back")
    return Keys(secret, MeteredPublic(backend.load_public(peer.public_key), budget))


def host_initial_share(own: WeightShare, masks: Randomness, keys: Keys) -> Steps[FirstShare]:
    """The host's: U, uniform, from `masks`; and A."""
    shapes = own.shapes
    factor = received((yield Receive(InitialFactor)), InitialFactor)
    operand = keys.public.load_operand(_initial_parts(factor), shapes.initial)
    left = orthogonal_factor(own.randomness, shapes.o, min(shapes.o, shapes.d))
    share = masks.ring((shapes.o, shapes.d), RING_BITS)
    encoded = _encoded(left)
    product = keys.public.multiply_add(encoded, operand, negative(share), shapes.initial)
    yield Send(InitialShare(0, product.parts))
    return FirstShare(share, encoded)


def collaborator_initial_share(own: WeightShare, keys: Keys) -> Steps[FirstShare]:
    """The collaborator's: V and B."""
    shapes = own.shapes
    right = orthogonal_factor(own.randomness, min(shapes.o, shapes.d), shapes.d)
    encoded = _encoded(right)
    yield Send(InitialFactor(0, keys.secret.encrypt(as_ring(encoded), shapes.initial).parts))
    reply = received((yield Receive(InitialShare)), InitialShare)
    return FirstShare(keys.secret.decrypt(_initial_parts(reply), shapes.initial), encoded)


def _encoded(factor: NDArray[np.float64]) -> Integers:
    values: Integers = np.rint(factor * 2.0**FACTOR_BITS).astype(np.int64)
    return values


def _initial_parts(message: InitialFactor | InitialShare) -> CiphertextBundle:
    if message.version:
        raise MalformedMessage(f"{type(message).__name__} is about version {message.version} of the weights, not 0")
    return CiphertextBundle(message.parts)
