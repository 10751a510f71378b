"""What is left of a run, and whether it is what an uninterrupted run leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from protocols.core.fixed_point import WEIGHT_BITS
from protocols.he.interface import RING_BITS, as_signed
from protocols.transcript.errors import TranscriptError
from protocols.transcript.format import NONE, Entry, RunningHash, lines_of, parse

Arrays = dict[str, NDArray[np.generic]]

LOSS_BOUND, WEIGHT_BOUND = 0.002, 0.002
"""By how much a secure run may differ from another of the same seed: the smoothing noise of what is done again is
fresh. Encrypted and plain training of this task differ by up to a tenth of it in all."""


@dataclass(frozen=True)
class Result:
    """Weights by party and file (a secure projection layer: by key, both shares added), losses, and test results."""

    weights: dict[str, Arrays]
    losses: list[float]
    scalars: dict[str, list[list[float]]]

    @classmethod
    def read(cls, directories: Mapping[str, Path]) -> Result:
        """Of parties' task directories; the host is the first."""
        weights: dict[str, Arrays] = {}
        shares: dict[str, list[NDArray[np.generic]]] = {}
        for party, directory in directories.items():
            for path in sorted((directory / "results").glob("*.safetensors")):
                arrays = load_file(path)
                if "share" in arrays:
                    shares.setdefault(path.stem, []).append(arrays["share"])
                else:
                    name = path.stem if path.stem.startswith("projection.") else f"{party}/{path.stem}"
                    weights[name] = arrays
        for layer, (own, other) in shares.items():
            total = (own.view(np.uint64) + other.view(np.uint64)) & np.uint64((1 << RING_BITS) - 1)
            weights[layer] = {"weight": as_signed(total) * 2.0**-WEIGHT_BITS}
        metrics = json.loads((next(iter(directories.values())) / "results" / "metrics.json").read_text())
        return cls(weights, metrics["batch_losses"], metrics["scalars"])

    def is_identical(self, other: Result) -> bool:
        """Bit by bit."""
        return (
            self.losses == other.losses
            and self.scalars == other.scalars
            and self.weights.keys() == other.weights.keys()
            and all(_same(arrays, other.weights[name]) for name, arrays in self.weights.items())
        )

    def distances(self, other: Result) -> tuple[float, float]:
        """The largest differences of losses, and of weights. Raises `ValueError` if they are not of the same kind."""
        if len(self.losses) != len(other.losses) or self.weights.keys() != other.weights.keys():
            raise ValueError(f"{len(self.losses)} losses and {sorted(self.weights)}")
        losses = max(abs(a - b) for a, b in zip(self.losses, other.losses))
        weights = 0.0
        for name, arrays in self.weights.items():
            for part, array in arrays.items():
                twin = other.weights[name][part]
                weights = max(weights, float(np.abs(array.astype(float) - twin.astype(float)).max()))
        return losses, weights


def _same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        array.dtype == other[name].dtype and array.tobytes() == other[name].tobytes() for name, array in one.items()
    )


def transcripts(directory: Path, peer: str) -> list[Path]:
    """A party's transcripts of all conversations with a peer, the oldest first."""
    found = (directory / "transcripts").glob(f"{peer}-*.transcript")
    return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))


def entries(path: Path) -> list[Entry]:
    """The messages that a transcript lists, as far as it can be read."""
    running, found = RunningHash(), []
    with path.open("rb") as file:
        for number, line in enumerate(lines_of(file), 1):
            try:
                text = running.read(line)
                record = parse(text, number) if number > 1 else None  # the first line is the format's name
            except TranscriptError:
                break  # a killed process may leave half a line: the audit says whether that is all
            if isinstance(record, Entry):
                found.append(record)
    return found


def repeated(conversations: list[list[Entry]], role: str) -> list[str]:
    """What `role`, who wrote these transcripts, sent twice of what may be sent once: over all conversations."""
    seen: dict[bytes, str] = {}
    problems = []
    for number, conversation in enumerate(conversations, 1):
        for entry in conversation:
            if entry.tag != NONE and entry.sender.role == role:
                before = seen.setdefault(entry.tag, f"{entry} of conversation {number}")
                if before != f"{entry} of conversation {number}":
                    problems.append(f"{entry} of conversation {number} repeats {before}")
    return problems


def psi_runs(conversations: list[list[Entry]]) -> int:
    """In how many conversations the intersection was computed."""
    return sum(any(entry.type == "PsiOpen" for entry in conversation) for conversation in conversations)
