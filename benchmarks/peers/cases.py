"""What is compared: the points of each case, who takes part, and what a right result is."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.measurement import Case, Measurement

RESULT_BITS = 48
"""z = X M at 16 + 32 fraction bits, as in `protocols.core.fixed_point`."""

WORST_ERROR = 1e-4
"""Of z. Smoothing noise on z is 4e-4; a scheme that is off by more than this is not computing the product."""


class WrongResult(Exception):
    """A peer's result is wrong: its times mean nothing."""


@dataclass(frozen=True)
class Sample:
    """Which part of a product a slow peer computes; its times are multiplied by the rest. None: all."""

    rows: int | None = None
    inner: int | None = None
    columns: int | None = None


@dataclass(frozen=True)
class Entry:
    """A peer's way to do a case."""

    peer: str
    variant: str = ""
    sample: Sample = Sample()


@dataclass(frozen=True)
class Point(ABC):
    """One case with its parameters, and who is compared there. Ours comes first."""

    case: Case
    entries: tuple[Entry, ...]

    @property
    @abstractmethod
    def name(self) -> str:
        """The case and its parameters in words."""

    @abstractmethod
    def parameters(self) -> dict[str, int]:
        """What a worker is told; `cores` 0 is all."""

    @abstractmethod
    def write_inputs(self, directory: Path) -> None:
        """The files that workers read."""

    @abstractmethod
    def check(self, entry: Entry, measurement: Measurement, directory: Path) -> float | None:
        """The worst error of a product, or None for a set. Raises `WrongResult`."""

    def sample_words(self, sample: Sample) -> str:
        """Which part is computed."""
        return ""


@dataclass(frozen=True)
class PsiPoint(Point):
    """PSI of two sets of this many ids, half of them in common."""

    ids: int

    @property
    def name(self) -> str:
        return f"PSI of {self.ids:,} x {self.ids:,} ids, half of them in common; two processes, all cores"

    def parameters(self) -> dict[str, int]:
        return {"ids": self.ids, "cores": 0}

    def ids_of(self, party: int) -> range:
        """The numbers in the ids of party 0 or 1: the same as `benchmarks/scripts/psi_*.py` have."""
        return range(party * (self.ids // 2), party * (self.ids // 2) + self.ids)

    def write_inputs(self, directory: Path) -> None:
        for party in (0, 1):
            lines = "".join(f"patient-{i}\n" for i in self.ids_of(party))
            (directory / f"ids_{party}.csv").write_text("id\n" + lines)

    def check(self, entry: Entry, measurement: Measurement, directory: Path) -> None:
        first, second = self.ids_of(0), self.ids_of(1)
        right = {f"patient-{i}" for i in range(second.start, first.stop)}
        if measurement.parameters.get("intersection") != len(right):
            raise WrongResult(f"an intersection of {measurement.parameters.get('intersection')}, not {len(right)}")
        if entry.peer != "ours" and set(json.loads((directory / "result.json").read_text())) != right:
            raise WrongResult("an intersection of the right size with wrong ids")


@dataclass(frozen=True)
class ProductPoint(Point):
    """X [m, k] times an encrypted M [k, n], plus R, at the fixed point of the projection layer.

    X at 2^16 and below 2 in size, M at 2^32 and below 1/4, R at 2^48 and below 64: X M + R fits an int64.
    """

    m: int
    k: int
    n: int
    key_bits: int = 0

    @property
    def name(self) -> str:
        key = f", {self.key_bits} bits" if self.key_bits else ""
        shape = f"X[{self.m} x {self.k}] [M[{self.k} x {self.n}]] + R"
        return f"{self.case}: {shape}, signed X of 18 bits{key}; one core, CPU milliseconds"

    def parameters(self) -> dict[str, int]:
        return {"m": self.m, "k": self.k, "n": self.n, "key_bits": self.key_bits, "cores": 1}

    def matrices(self) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
        """Always the same ones."""
        source = np.random.default_rng(6)
        bits = {"factor": (17, (self.m, self.k)), "matrix": (30, (self.k, self.n)), "addend": (54, (self.m, self.n))}
        return {name: source.integers(1 - 2**size, 2**size, shape) for name, (size, shape) in bits.items()}

    def write_inputs(self, directory: Path) -> None:
        lists = {name: matrix.tolist() for name, matrix in self.matrices().items()}
        (directory / "matrices.json").write_text(json.dumps(lists))

    def check(self, entry: Entry, measurement: Measurement, directory: Path) -> float:
        rows, inner, columns = entry.sample.rows, entry.sample.inner, entry.sample.columns
        x, m, r = self.matrices().values()
        right = x[:rows, :inner] @ m[:inner, :columns] + r[:rows, :columns]
        result = json.loads((directory / "result.json").read_text())
        if np.shape(result) != right.shape:
            raise WrongResult(f"a product of shape {np.shape(result)}, not {right.shape}")
        flat = [value for row in result for value in row]
        errors = [abs(got - want) / 2**RESULT_BITS for got, want in zip(flat, map(int, right.flat))]
        if not all(error <= WORST_ERROR for error in errors):  # so that a NaN is wrong too
            raise WrongResult(f"a product that is off by up to {max(errors):.3g}")
        return max(errors)

    def sample_words(self, sample: Sample) -> str:
        parts = (("rows", self.m), ("inner", self.k), ("columns", self.n))
        taken = asdict(sample)
        return ", ".join(f"{name} {taken[name]} of {whole}" for name, whole in parts if taken[name] is not None)


@dataclass(frozen=True)
class TwoPartyPoint(ProductPoint):
    """The same product between two processes: one has X and R, the other M; each gets a share, X M + R and R."""

    @property
    def name(self) -> str:
        return f"X[{self.m} x {self.k}] M[{self.k} x {self.n}] between two processes, a share for each; all cores"

    def parameters(self) -> dict[str, int]:
        return {**super().parameters(), "cores": 0}


OURS = Entry("ours")


def psi_points(quick: bool, slow: bool) -> list[Point]:
    """`slow`: everyone at a million ids too, some twenty minutes a run."""
    points: list[Point] = []
    for ids in [2_000] if quick else [10_000, 100_000, 1_000_000]:
        entries = [OURS, Entry("spu", "curve25519")]
        if slow or ids <= 100_000:
            entries.append(Entry("openmined_psi", "P-256"))
        if slow or ids <= 10_000:
            entries.append(Entry("spu", "elligator2"))
        points.append(PsiPoint("psi", tuple(entries), ids))
    return points


def paillier_points(quick: bool, slow: bool) -> list[Point]:
    """`slow`: peers compute every row of the narrow product."""
    points: list[Point] = []
    for key_bits in [2048] if quick else [2048, 3072]:
        for k in [20] if quick else [20, 512]:
            sample = Sample(rows=2 if quick else 8, inner=None if k == 20 else 20)
            if slow and k == 20:
                sample = Sample()
            heu = [Entry("heu", variant, sample) for variant in ("zpaillier", "zpaillier-split", "ou")]
            entries = (OURS, *heu, Entry("phe", "", sample))
            points.append(ProductPoint("paillier", entries, 128, k, 20, key_bits))
    return points


def bfv_points(quick: bool, slow: bool) -> list[Point]:
    """`slow`: peers compute all of the wide product, some minutes a run and gigabytes."""
    points: list[Point] = []
    for k in [20] if quick else [20, 512]:
        all_of_it = slow or (k == 20 and not quick)
        rows, columns = (Sample(), Sample()) if all_of_it else (Sample(rows=4), Sample(columns=2))
        peers = (
            Entry("tenseal", "bfv_tensor", rows),
            Entry("tenseal", "ckks_tensor", rows),
            Entry("tenseal", "ckks_vector", columns),
        )
        points.append(ProductPoint("bfv", (OURS, *peers), 128, k, 20))
    return points


def cheetah_points(quick: bool, slow: bool) -> list[Point]:
    """`slow` changes nothing: nobody is left out."""
    shapes = [(128, 20, 20)] if quick else [(128, 20, 20), (128, 128, 128), (128, 512, 512)]
    entries = (OURS, Entry("ours", "nothing prepared"), Entry("spu", "Cheetah"))
    return [TwoPartyPoint("cheetah", entries, *shape) for shape in shapes]


POINTS = {"psi": psi_points, "paillier": paillier_points, "bfv": bfv_points, "cheetah": cheetah_points}
"""By case: its points, given --quick and --slow."""
