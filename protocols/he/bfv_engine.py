"""What the BFV backend asks of an implementation of its arithmetic: `seal_engine` and `native_engine` are two.

Polynomials, forms and bytes are those of `bfv_wire`. Headers, layouts, lengths of bundles and the order of randomness
are the backend's matter. An engine draws nothing: it is given uniform bytes, and from the same bytes every engine makes
the same messages. Keys, zeros, operands and masks are its own business and opaque. All methods may be called from
several threads at once.

Small values from uniform little-endian words of eight bytes (`residues`):

    ternary     one word a coefficient, modulo 3: 0, 1 or -1
    error       one word a coefficient: ones among bits 0 to 20, less those among bits 32 to 52
    flooding    [2][3][results] words a reply: the high 62 bits of the first three rows, and the high flood_bits - 62
                bits of the others below them, make three integers below 2^flood_bits; their sum, centred
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.mapper import Mapper
from protocols.he.layout import Layout
from protocols.he.parameters import BfvParameters
from protocols.wire.varint import Buffer

Ring = NDArray[np.uint64]

WORD_BYTES = 8
FLOODING_BYTES = 6 * WORD_BYTES
"""For one result."""


@dataclass(frozen=True, repr=False)
class Product:
    """X M + R for a loaded [M].

    Args:
        layout: of X M, with the tiles that M was loaded with.
        factor: X [m, k].
        operand: what `BfvEngine.load` made of [M].
        addend: R [m, n].
        switching: what `BfvEngine.load_switching_keys` made of its owner's; without packing it is not used.
    """

    layout: Layout
    factor: NDArray[np.int64]
    operand: Any
    addend: Ring
    switching: Any = None


class BfvEngine(ABC):
    """Arithmetic under one parameter set.

    Attributes:
        parameters: that set.
        description: which implementation this is, for people.
        releases_lock: whether other threads run while it computes.
    """

    parameters: BfvParameters
    description: str
    releases_lock: bool

    @abstractmethod
    def secret_key(self, ternary: bytes) -> Any:
        """A key in working form.

        Args:
            ternary: N signed bytes, each -1, 0 or 1.
        """

    @abstractmethod
    def zeros(self, secret: Any, seeds: Sequence[bytes], errors: Sequence[Buffer]) -> list[Any]:
        """c0 = -(a s + e) of symmetric encryptions of zero.

        Args:
            secret: of `secret_key`.
            seeds: of each a.
            errors: N words for each e.
        """

    @abstractmethod
    def operand_part(self, head: bytes, zero: Any, message: Ring) -> bytes:
        """A part: what stands before c0 in it, then the encryption of zero, which is used up, plus a message.

        Args:
            head: the part's header and the seed of a.
            message: its first coefficients; none for the public key.
        """

    @abstractmethod
    def switching_keys(self, ternary: bytes, seeds: Sequence[bytes], errors: Sequence[Buffer]) -> list[bytes]:
        """The bodies of a key's key-switching keys, `switching_parts` of them: see `packing`.

        Args:
            ternary: as of `secret_key`.
            seeds: of each a.
            errors: N words for each e.
        """

    @abstractmethod
    def load_switching_keys(self, bodies: Sequence[Buffer]) -> Any:
        """A peer's, in working form. Raises `InvalidCiphertext` for a malformed one."""

    @abstractmethod
    def load(self, bodies: Sequence[Buffer], mapper: Mapper = map) -> Any:
        """A peer's operand, or key, by its parts, in working form. Raises `InvalidCiphertext` for a malformed part.

        Args:
            mapper: for pieces that are worth it.
        """

    @abstractmethod
    def mask(self, key: Any, words: Buffer) -> Any:
        """u * key, and e2 for c1: a fresh public-key encryption of zero but for the flooding.

        Args:
            key: of `load`.
            words: N for u, then N for e2.
        """

    @abstractmethod
    def replies(
        self,
        product: Product,
        groups: range,
        masks: Sequence[Any],
        flooding: Sequence[Buffer],
        mapper: Mapper = map,
    ) -> list[bytes]:
        """The bodies of all replies of some groups of rows: flooded, scaled, packed.

        Args:
            product: all of it.
            groups: consecutive groups of rows; the first reply begins with the first one.
            masks: one for each reply, used up.
            flooding: uniform words for each sum.
            mapper: for threads that make them together.
        """

    @abstractmethod
    def decrypt(self, secret: Any, bodies: Sequence[Buffer], layout: Layout, mapper: Mapper = map) -> Ring:
        """The results [m, n] of all replies of a layout. Raises `InvalidCiphertext` for a malformed one.

        Args:
            mapper: for pieces that are worth it.
        """
