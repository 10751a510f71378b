"""Numbers a run leaves behind, as plain data that goes into JSON."""

from __future__ import annotations

import math
import re
import resource
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import to_json as json_of

if TYPE_CHECKING:
    from secure_hfl.transport.channel import Channel

_OWN = Path("/proc/self")
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
"""In KiB, whatever it says."""


Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""Also NaN, which JSON has as null."""


class PsiMetrics(BaseModel):
    """One party's private set intersection. Bytes are this party's, over all its peers."""

    seconds: float
    host_ids: int
    collaborator_ids: dict[str, int]
    intersection: int
    bytes_sent: int
    bytes_received: int


class RoundMetrics(BaseModel):
    """One round at one party. `accuracy` and `average_loss` are what `test` wrote to `tb_writer`, at the host.

    `work` is where `train_seconds` went in the thread that runs the rounds, by `secure_hfl.work_clock.Work`; it adds up
    to them. `round_trips` is how often that thread, training, came to wait for a peer it had sent something to since it
    last waited for it (`Link.round_trips`): with several collaborators, the most of any. Conversations with all of them
    are begun together and their waits overlap, so a batch takes as long as its longest chain, not as their sum.
    """

    round: int
    batches: int
    train_seconds: float = 0.0
    test_seconds: float | None = None
    accuracy: float | None = None
    average_loss: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    work: dict[str, float] = Field(default_factory=dict)
    round_trips: int = 0


class RunMetrics(BaseModel):
    """Everything measured at one party.

    `offline_seconds` is what was spent on work that does not depend on data: processor seconds of the background
    thread, and for scheme "masked" the wall seconds of making triples with the peers, those of the test set included.

    `arithmetic` is which implementation computed the encryption ("native, AVX-512 IFMA" or "SEAL"), where there are
    several.

    `encryption` is what the manifest says of it, for people: the parameter set, and how many sums a reply holds.

    `rows_shown` counts, by feature key, the different rows of each frozen bottom model that have crossed: each was sent
    once, and what the Host was shown of it does not grow with the rounds.

    `resumes` counts how often the run went on after an interruption, and `recovery_seconds` how long each took: from
    the moment it was noticed, or the start of the process, until training could go on. What a process that was killed
    had done after its last checkpoint is not counted anywhere; of a resumed round, times and bytes are those since.

    `label_epsilon` bounds what the whole task tells of each training label, to all collaborators together
    (`secure_hfl.RandomizedResponse`); None: there is no bound, as always with a seed.
    """

    party: str
    role: str
    scheme: str
    arithmetic: str = ""
    encryption: str = ""
    seed: int | None = None
    label_epsilon: float | None = None
    psi: PsiMetrics | None = None
    rounds: list[RoundMetrics] = Field(default_factory=list)
    batch_losses: list[Number] = Field(default_factory=list)
    scalars: dict[str, list[tuple[int, Number]]] = Field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0
    messages: dict[str, dict[str, int]] = Field(default_factory=dict)
    seconds: float = 0.0
    offline_seconds: float = 0.0
    peak_rss_mb: float = 0.0
    rows_shown: dict[str, int] = Field(default_factory=dict)
    resumes: int = 0
    recovery_seconds: list[float] = Field(default_factory=list)
    checkpoint_seconds: float = 0.0

    def last_scalar(self, tag: str, round_number: int) -> float | None:
        """The last value written under a tag in a round."""
        found = [value for step, value in self.scalars.get(tag, []) if step == round_number]
        return found[-1] if found else None


def kept_in_tree(metrics: RunMetrics) -> dict[str, Any]:
    """As a checkpoint keeps them. A leaf of the tree for each number would take a second after some thousand rounds."""
    return {
        "json": json_of(metrics.model_dump(exclude={"batch_losses"}), inf_nan_mode="constants"),
        "batch_losses": np.array(metrics.batch_losses),
    }


def from_tree(tree: Mapping[str, Any]) -> RunMetrics:
    """The inverse of `kept_in_tree`; also of what earlier versions kept. Raises pydantic's `ValidationError`."""
    if "json" not in tree:
        return RunMetrics.model_validate(tree)
    metrics = RunMetrics.model_validate_json(tree["json"])
    metrics.batch_losses = tree["batch_losses"].tolist()
    return metrics


def peak_rss_mb() -> float:
    """The largest resident set of this process so far, in MB (10^6 bytes).

    By /proc where there is one: `ru_maxrss` outlives exec, so that a child shows at least what its parent had.
    """
    peak = peak_rss_mb_of(_OWN)
    if peak is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def peak_rss_mb_of(process: Path) -> float | None:
    """The same of any process, `/proc/<pid>`. None: there is no such file, or the process has ended."""
    try:
        found = _HIGH_WATER.search((process / "status").read_text(errors="replace"))
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None


def add_traffic(into: RunMetrics, channels: Iterable[Channel]) -> None:
    """Count what has crossed these channels."""
    for channel in channels:
        into.bytes_sent += channel.sent.bytes
        into.bytes_received += channel.received.bytes
        for way, traffic in (("sent", channel.sent), ("received", channel.received)):
            for name, (count, size) in traffic.by_type.items():
                counts = into.messages.setdefault(name, {})
                counts[f"{way}_messages"] = counts.get(f"{way}_messages", 0) + count
                counts[f"{way}_bytes"] = counts.get(f"{way}_bytes", 0) + size


def to_json(value: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON data."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else dict(value)
