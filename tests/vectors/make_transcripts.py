"""Whole tasks of every scheme, as both ends record them: `python -m tests.vectors.make_transcripts`.

It writes tests/vectors/transcripts-3 anew. The files are the contract between versions: they are made again only when
the protocol changes, and never to make a test pass. Those of version 2, in tests/vectors/transcripts, stay as they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.protocols.transcript.interrupted_runs import interrupted, length
from tests.protocols.whole_task import Case

DIRECTORY = Path(__file__).parent / "transcripts-3"
PARTIES = ("party0", "party1")

RUNS = {
    "bfv": (Case(), ()),
    "bfv-frozen": (Case(trainable=False), ()),
    "masked": (Case("masked"), ()),
    "masked-resumed": (Case("masked"), (2,)),
    "paillier": (Case("paillier"), ()),
    "plain": (Case("plain"), ()),
}
"""A case, and where its connection is cut: behind so many thirds of its messages."""


def write(name: str) -> None:
    """Both ends' files of one run."""
    case, cuts = RUNS[name]
    ends = interrupted(case, tuple(length(case) * cut // 3 for cut in cuts))
    for party, other, files in zip(PARTIES, reversed(PARTIES), ends, strict=True):
        directory = DIRECTORY / name / party
        directory.mkdir(parents=True)
        for number, file in enumerate(files, 1):
            (directory / f"{other}-{number}.transcript").write_bytes(file)


if __name__ == "__main__":
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    for run in RUNS:
        write(run)
