"""Messages of scheme "masked".

    offline (protocols/schemes/masked/pool.py)      TripleRequest, TripleOperand, TripleProduct
    online  (protocols/schemes/masked/host.py)      MaskedShare, MaskedFeatures, MaskedGradientFeatures,
                                                    MaskedGradient, MaskedStep, MaskedCheck

`index` is the number of the triple whose masks hide the message's tensors, and each triple's masks hide one value each,
once; `version` counts the updates of W. All arrays hold elements of Z_{2^59}.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.fixed_point import MAX_EXPONENT, MIN_EXPONENT
from protocols.core.message import Message
from protocols.he.interface import RING_BITS
from protocols.layer.messages import MAX_PARTS, MAX_VERSION
from protocols.schemes.masked.triples import KINDS, PRODUCTS

MAX_INDEX = (1 << 63) - 1
MAX_COUNT = 1 << 10


class _RingMessage(Message):
    def require_ring(self, name: str, ndim: int) -> None:
        """Raise unless the field is a non-empty array of ring elements."""
        self.require_array(name, np.uint64, ndim)
        self.require(not int(getattr(self, name).max()) >> RING_BITS, f"{name} must be in Z_2^{RING_BITS}")


@dataclass(frozen=True)
class TripleRequest(Message):
    """The host starts a batch of triples: `count` of one kind, from number `index` on.

    **Leaks** nothing beyond how many triples are made.
    """

    kind: str
    index: int
    count: int

    def __post_init__(self) -> None:
        self.require(self.kind in KINDS, f"kind must be one of {', '.join(KINDS)}")
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("count", 1, MAX_COUNT)


@dataclass(frozen=True)
class _TriplePart(Message):
    """Ciphertexts of one product of one triple."""

    index: int
    product: str
    parts: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require(self.product in PRODUCTS, f"product must be one of {', '.join(PRODUCTS)}")
        self.require(isinstance(self.parts, tuple), "parts must be a tuple")
        self.require(1 <= len(self.parts) <= MAX_PARTS, f"1 to {MAX_PARTS} ciphertexts, not {len(self.parts)}")
        self.require(all(isinstance(part, bytes) and part for part in self.parts), "ciphertexts are not empty")


@dataclass(frozen=True)
class TripleOperand(_TriplePart):
    """The sender's uniform mask, under its own key.

    **Leaks** nothing.
    """


@dataclass(frozen=True)
class TripleProduct(_TriplePart):
    """The product of the receiver's mask with the sender's, less the sender's uniform share; under the receiver's key.

    **Leaks** nothing: the receiver's share is uniform.
    """


@dataclass(frozen=True)
class MaskedShare(_RingMessage):
    """A party's share of the weights less a uniform mask, [o, d]: mu = U - M from the host, nu = V - N from the other.

    **Leaks** nothing.
    """

    index: int
    version: int
    share: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("share", 2)


@dataclass(frozen=True)
class MaskedFeatures(_RingMessage):
    """alpha = a - A [rows, d], and the collaborator's share s [rows, o] of the projection (or of its check, [rows, 1]).

    **Leaks** z + e, the smoothed projection of the batch, to the host: alpha is uniform, and s follows from z + e.
    """

    index: int
    version: int
    features: NDArray[np.uint64]
    projection: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("features", 2)
        self.require_ring("projection", 2)
        self.require(len(self.features) == len(self.projection), "features and projection must have as many rows")


@dataclass(frozen=True)
class MaskedGradientFeatures(_RingMessage):
    """alpha' = a - A' [B, d], of the features at the scale of the weight gradient, a short batch filled up with zeros.

    **Leaks** nothing.
    """

    index: int
    version: int
    features: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("features", 2)


@dataclass(frozen=True)
class MaskedGradient(_RingMessage):
    """delta = dz - D [rows, o], and the host's share h [rows, d] of the feature gradient; to a trainable bottom model.

    **Leaks** da + e' and the power of two that bounds dz, to the collaborator: what it needs to train, and something
    about the labels. delta is uniform, and h follows from da + e'.
    """

    index: int
    version: int
    exponent: int
    gradient: NDArray[np.uint64]
    feature_gradient: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_int("exponent", MIN_EXPONENT, MAX_EXPONENT)
        self.require_ring("gradient", 2)
        self.require_ring("feature_gradient", 2)
        self.require(len(self.gradient) == len(self.feature_gradient), "both gradients must have as many rows")


@dataclass(frozen=True)
class MaskedStep(_RingMessage):
    """gamma = lr dz - G [B, o], a short batch filled up with zeros; `share_follows` if a MaskedShare for the next does.

    **Leaks** nothing.
    """

    index: int
    version: int
    share_follows: bool
    step: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require(type(self.share_follows) is bool, "share_follows must be true or false")
        self.require_ring("step", 2)


@dataclass(frozen=True)
class MaskedCheck(_RingMessage):
    """A public random r [o], and U^T r less a uniform mask, [d]: the host asks for a combination of z under new masks.

    **Leaks** nothing: the answer adds up to z r, which the host knows.
    """

    index: int
    version: int
    combination: NDArray[np.uint64]
    share: NDArray[np.uint64]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("version", 0, MAX_VERSION)
        self.require_ring("combination", 1)
        self.require_ring("share", 1)
