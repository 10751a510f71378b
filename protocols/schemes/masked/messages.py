"""Messages of scheme "masked".

    offline (protocols/schemes/masked/pool.py), of triple_messages.py
    tests   (protocols/schemes/masked/share_tests.py), of protocols/schemes/shares/
    online  (protocols/schemes/masked/host.py)      MaskedShare, MaskedFeatures, MaskedGradientFeatures,
                                                    MaskedGradient, MaskedStep, MaskedCheck, MaskedCheckReply

`index` is the number of the triple whose masks hide the message's tensors, and each triple's masks hide one value each,
once; `version` counts the updates of W. All arrays hold elements of Z_{2^59}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.fixed_point import MAX_EXPONENT, MIN_EXPONENT
from protocols.core.ledger import Inference, KeptFromCollaborator, masked
from protocols.core.message import Message, check_array
from protocols.core.sizes import Bounds, Recorded
from protocols.core.wire_format import Int32, Uint64, wire
from protocols.he.interface import RING_BITS
from protocols.layer.messages import (
    COMPARED,
    ELEMENT_BYTES,
    EXPONENT,
    GRADIENT_LEARNED,
    MAX_VERSION,
    PROJECTION_LEARNED,
    SMOOTHED,
    SUM_LEARNED,
    layer_bounds,
)
from protocols.layer.shapes import Ring
from protocols.layer.sizes import LaidOut
from protocols.schemes.masked.triple_messages import MAX_INDEX
from protocols.wire.sizes import data, number, tensor

_TESTED = (
    "That it hides the sender's share of the weights is tested of one in 64, unforeseeably: by another matrix a "
    "malicious party would read features or gradients. Lies in the noise of ciphertexts pass."
)
_UNIFORM = "One-time pad in Z_{{2^59}}: uniform whatever it hides (Beaver, CRYPTO 1991)."


def _numbers(recorded: Recorded) -> int:
    """Bytes of index and version."""
    return number(recorded[0]) + number(recorded[1])


def _tensors(shapes: Callable[[LaidOut], tuple[tuple[int, ...], ...]]) -> Bounds:
    """Of index, version and tensors of these shapes."""
    return layer_bounds(lambda layer, recorded: _numbers(recorded) + sum(map(tensor, shapes(layer))))


def _features_size(layer: LaidOut, recorded: Recorded) -> int:
    """Of index, version, and alpha of a piece of a batch."""
    rows = recorded[2]
    if not 1 <= rows <= min(layer.first_rows, layer.rows):
        raise InvalidInput(f"a piece of {rows} rows in a batch of {layer.rows}")
    return _numbers(recorded) + tensor((rows, layer.width_in))


def _piece_size(layer: LaidOut, recorded: Recorded) -> int:
    """With [rows, o] beside it."""
    return _features_size(layer, recorded) + tensor((recorded[2], layer.width_out))


class _RingMessage(Message):
    def require_ring(self, name: str, ndim: int) -> None:
        """Raise unless the field is a non-empty array of ring elements."""
        self.require_ring_elements(name, getattr(self, name), ndim)

    def require_ring_elements(self, name: str, value: Ring, ndim: int) -> None:
        """The same of a part of a field."""
        check_array(f"{type(self).__name__}.{name}", value, np.uint64, ndim)
        self.require(not int(value.max()) >> RING_BITS, f"{name} must be in Z_2^{RING_BITS}")


@wire(
    75,
    ledger=masked(f"{_UNIFORM} {_TESTED}"),
    recorded=("index", "version"),
    bounds=_tensors(lambda layer: ((layer.width_out, layer.width_in),)),
)
@dataclass(frozen=True)
class MaskedShare(_RingMessage):
    """The host's share of the weights less a uniform mask: mu = U - M [o, d].

    **Leaks** nothing. What the receiver does with another matrix there: tests/attacks/test_masked_other_share.py.
    """

    index: Uint64
    version: Uint64
    share: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("share", 2)


@wire(
    76,
    ledger=masked(
        f"{_UNIFORM} The second half follows from what is learned. {SMOOTHED}",
        host=PROJECTION_LEARNED,
        infers=frozenset({Inference.FEATURES}),
        host_in_sum=SUM_LEARNED,
    ),
    recorded=("index", "version", "rows", "columns"),
    record=lambda message: (message.index, message.version, *message.projection.shape),
    bounds=layer_bounds(_piece_size),
)
@dataclass(frozen=True)
class MaskedFeatures(_RingMessage):
    """alpha = a - A [rows, d], and the collaborator's share s [rows, o] of the projection.

    **Leaks** z + e, the smoothed projection of the batch, to the host: alpha is uniform, and s follows from z + e. In a
    sum, which adds a pad to e, nothing but the sum with the other collaborators'.
    """

    index: Uint64
    version: Uint64
    features: NDArray[np.uint64]
    projection: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("features", 2)
        self.require_ring("projection", 2)
        self.require(len(self.features) == len(self.projection), "features and projection must have as many rows")


@wire(
    77,
    ledger=masked(f"{_UNIFORM} {_TESTED}"),
    recorded=("index", "version"),
    bounds=_tensors(lambda layer: ((layer.first_rows, layer.width_in), (layer.width_out, layer.width_in))),
)
@dataclass(frozen=True)
class MaskedGradientFeatures(_RingMessage):
    """What a training batch's steps need of the collaborator.

    Args:
        features: alpha' = a - A' [B, d], at the scale of the weight gradient, a short batch filled up with zeros.
        share: nu = V - N [o, d].

    **Leaks** nothing. What the host does with another matrix for nu: tests/attacks/test_masked_other_share.py.
    """

    index: Uint64
    version: Uint64
    features: NDArray[np.uint64]
    share: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("features", 2)
        self.require_ring("share", 2)


@wire(
    78,
    ledger=masked(
        f"{_UNIFORM} The second half follows from da + e'. {SMOOTHED}",
        collaborator=GRADIENT_LEARNED,
        carries=frozenset({KeptFromCollaborator.GRADIENT}),
        infers=frozenset({Inference.LABELS}),
    ),
    recorded=("index", "version", "rows"),
    record=lambda message: (message.index, message.version, len(message.gradient)),
    bounds=layer_bounds(_piece_size, EXPONENT),
)
@dataclass(frozen=True)
class MaskedGradient(_RingMessage):
    """delta = dz - D [rows, o], and the host's share h [rows, d] of the feature gradient; to a trainable bottom model.

    **Leaks** da + e' and the power of two that bounds dz, to the collaborator: what it needs to train, and something
    about the labels. delta is uniform, and h follows from da + e'.
    """

    index: Uint64
    version: Uint64
    exponent: Int32
    gradient: NDArray[np.uint64]
    feature_gradient: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_int("exponent", MIN_EXPONENT, MAX_EXPONENT)
        self.require_ring("gradient", 2)
        self.require_ring("feature_gradient", 2)
        self.require(len(self.gradient) == len(self.feature_gradient), "both gradients must have as many rows")


def _step_size(layer: LaidOut, recorded: Recorded) -> int:
    """Of index, version, gamma, and mu if it is there."""
    ahead = recorded[2]
    share = tensor((layer.width_out, layer.width_in)) if ahead else 0
    return _numbers(recorded) + number(ahead) + tensor((layer.first_rows, layer.width_out)) + share


@wire(
    79,
    ledger=masked(f"{_UNIFORM} {_TESTED}"),
    recorded=("index", "version", "ahead"),
    bounds=layer_bounds(_step_size),
)
@dataclass(frozen=True)
class MaskedStep(_RingMessage):
    """A step of W, and with the last one of a batch mu of the next batch, if a triple for it is ready.

    Args:
        ahead: 0 without mu; else the number of the triple that hides it, and 1.
        step: gamma = lr dz - G [B, o], a short batch filled up with zeros.
        share: none, or mu = U - M [o, d] of the version behind the step.

    **Leaks** nothing. What the host does with another matrix for mu: tests/attacks/test_masked_other_share.py.
    """

    index: Uint64
    version: Uint64
    ahead: Uint64
    step: NDArray[np.uint64]
    share: tuple[NDArray[np.uint64], ...] = ()

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_int("ahead", 0, MAX_INDEX)
        self.require_ring("step", 2)
        self.require(type(self.share) is tuple, "share must be a tuple")
        self.require(len(self.share) == (self.ahead > 0), "share must be there if it is sent ahead, and only then")
        for each in self.share:
            self.require_ring_elements("share", each, 2)

    def with_share(self, share: MaskedShare) -> MaskedStep:
        """With mu of the next batch."""
        return replace(self, ahead=share.index + 1, share=(share.share,))

    def opening(self) -> MaskedShare:
        """The mu that is sent ahead, as if by itself."""
        return MaskedShare(self.ahead - 1, self.version + 1, self.share[0])


@wire(
    80,
    ledger=masked(_UNIFORM),
    recorded=("index", "version"),
    bounds=_tensors(lambda layer: ((layer.width_out,), (layer.width_in,))),
)
@dataclass(frozen=True)
class MaskedCheck(_RingMessage):
    """A public random r [o], and U^T r less a uniform mask, [d]: the host asks for a combination of z under new masks.

    **Leaks** nothing.
    """

    index: Uint64
    version: Uint64
    combination: NDArray[np.uint64]
    share: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("combination", 1)
        self.require_ring("share", 1)


@wire(
    81,
    ledger=masked(f"{_UNIFORM} {COMPARED}"),
    recorded=("index", "version", "rows"),
    record=lambda message: (message.index, message.version, len(message.features)),
    bounds=layer_bounds(lambda layer, recorded: _features_size(layer, recorded) + data(ELEMENT_BYTES)),
)
@dataclass(frozen=True)
class MaskedCheckReply(_RingMessage):
    """alpha = a - A [rows, d] under the new masks, and the element of a comparison, for its share of z r.

    **Leaks** nothing: alpha is uniform, and so is the element.
    """

    index: Uint64
    version: Uint64
    features: NDArray[np.uint64]
    element: bytes

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("features", 2)
        self.require_bytes("element", ELEMENT_BYTES)
