"""What both sides of an encrypted layer have."""

from __future__ import annotations

import numpy as np

from protocols.core.errors import MalformedMessage
from protocols.core.message import check_array
from protocols.he.interface import (
    RING_BITS,
    CiphertextBundle,
    PublicSide,
    SecretSide,
)
from protocols.layer.messages import CiphertextMessage
from protocols.layer.shapes import Ring
from protocols.layer.weight_share import LayerEnd
from protocols.schemes.encrypted.messages import (
    FeatureGradient,
)
from protocols.schemes.encrypted.precomputed import Precomputed


class EncryptedSide(LayerEnd):
    """A key pair, the peer's public key, and the randomness that is prepared under them."""

    _secret: SecretSide
    _public: PublicSide
    _ahead: tuple[Precomputed, ...] = ()

    def _parts(self, message: CiphertextMessage | FeatureGradient, version: int | None = None) -> CiphertextBundle:
        self._check_version(type(message).__name__, message.version, version)
        return CiphertextBundle(message.parts)

    def prepare(self) -> bool:
        """See the roles. False until the layer is set up."""
        return any([ahead.top_up() for ahead in self._ahead])


def check_reply(values: Ring, length: int) -> None:
    """Raise `MalformedMessage` unless these are `length` ring elements."""
    check_array("a check's values", values, np.uint64, 1)
    if len(values) != length or int(values.max()) >> RING_BITS:
        raise MalformedMessage(f"a check must carry {length} ring elements")
