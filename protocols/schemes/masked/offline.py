"""The host's offline phase of scheme "masked": triples in stock, and how many the layer's next batch takes of them."""

from __future__ import annotations

from collections.abc import Callable

from protocols.core.steps import Steps
from protocols.schemes.masked.pool import HostTriples
from protocols.schemes.masked.triples import kind_of


class HostTriplePhase:
    """`protocols.layer.interface.HostOfflinePhase`, of triples.

    Args:
        triples: the host's halves.
        needs: of the layer that takes them.
    """

    def __init__(self, triples: HostTriples, needs: Callable[[bool, int], tuple[str, int]]) -> None:
        self._triples, self._needs = triples, needs

    @property
    def bytes_per_unit(self) -> int:
        """See the interface."""
        return self._triples.bytes_per_triple

    def kind(self, training: bool) -> str:
        """See the interface."""
        return kind_of(training)

    def stock(self, kind: str) -> int:
        """See the interface."""
        return self._triples.stock(kind)

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """See the interface."""
        return self._needs(training, rows)

    def generate(self, kind: str, count: int) -> Steps[None]:
        """See the interface."""
        yield from self._triples.generate(kind, count)
