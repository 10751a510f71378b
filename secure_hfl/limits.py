"""What the operator of a party lets any peer ask of this machine: sizes, work and memory.

    SECURE_HFL_LIMITS="ids=20000000,width=8192"        for a run
    HeteroNNHostScheduler(..., limits=OperatorLimits(ids=20_000_000))

They are not part of what parties agree on: each party has its own, and a peer that asks for more ends the task with an
error that names the limit. They bound what one peer costs, not what it learns; that is `protocols.task.terms.Limits`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from protocols.core.errors import LimitExceeded
from protocols.layer.interface import STOCK_BYTES, LayerSpec
from secure_hfl.errors import ConfigurationError


@dataclass(frozen=True)
class OperatorLimits:
    """Per peer and task.

    Args:
        ids: sample ids of a peer's set. A million take a second with the fast kernels, and 6 s without.
        width: features of a peer, and outputs of its projection layer.
        rows: samples in a batch.
        batch_work: multiplications of one product of a batch: rows x width in x width out. 2^32 take about a minute in
            `bfv`.
        stock_bytes: memory for triples of one kind that lie unused, in scheme `masked`. Eight of them fit in any case.
    """

    ids: int = 10_000_000
    width: int = 4_096
    rows: int = 65_536
    batch_work: int = 1 << 32
    stock_bytes: int = STOCK_BYTES

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"limit {each.name} must be a positive integer, not {value!r}")

    def changed(self, text: str) -> OperatorLimits:
        """These, with what a text like "ids=20000000,width=8192" says instead.

        Raises:
            ConfigurationError: it names no such limit, or says no number.
        """
        known = {each.name for each in fields(self)}
        values = {}
        for part in text.split(","):
            name, _, number = (piece.strip() for piece in part.partition("="))
            if name not in known:
                listed = ", ".join(sorted(known))
                raise ConfigurationError(f"SECURE_HFL_LIMITS: there is no limit {name!r}, only {listed}")
            if not number.isdecimal() or len(number) > 18:
                raise ConfigurationError(f"SECURE_HFL_LIMITS: {name} must be a number, not {number!r}")
            values[name] = int(number)
        return replace(self, **values)

    def check_features(self, rows: int, width: int) -> None:
        """Raise `LimitExceeded` for features that a peer announces, if they are too many."""
        _check("rows", rows, self.rows)
        _check("width", width, self.width)

    def check_layer(self, spec: LayerSpec) -> None:
        """Raise `LimitExceeded` for a projection layer that costs too much, before anything of it is made."""
        width_out = spec.width_out or 1
        _check("width", width_out, self.width)
        _check("batch_work", spec.rows * spec.width_in * width_out, self.batch_work)


DEFAULT_LIMITS = OperatorLimits()


def _check(name: str, asked: int, most: int) -> None:
    if asked > most:
        raise LimitExceeded(name, asked, most)
