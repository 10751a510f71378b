"""How often ids were counted with a peer, over all tasks; and what came of it in one.

<home>/overlaps.sqlite              runs with each peer, by its certificate; written before anything of an id leaves
<task directory>/overlap/
    transcripts/                    one of each session and peer
    results.json                    the numbers
    log.txt
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, TypeAdapter

from protocols.core.errors import WrongSession
from secure_hfl.database import transaction
from secure_hfl.files import write_private

DIRECTORY = "overlap"
RUNS = "overlaps.sqlite"
RESULTS = "results.json"
_SCHEMA = ("CREATE TABLE IF NOT EXISTS runs (peer TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID",)


class Overlap(BaseModel):
    """What was counted with one peer.

    Attributes:
        peer: its name in the task.
        own_ids, peer_ids: how many ids each has.
        common: how many both have, rounded down to a multiple of `round_to`.
        run: the how manieth count with this peer this was, over all tasks.
        at: when.
        transcript: of the session with this peer.
    """

    peer: str
    own_ids: int
    peer_ids: int
    common: int
    round_to: int
    run: int
    at: AwareDatetime
    transcript: str

    @property
    def shares(self) -> tuple[float, float]:
        """Of this party's ids, and of the peer's, that are common: at least."""
        return self.common / self.own_ids, self.common / self.peer_ids

    def text(self) -> str:
        """For people."""
        own, peer = self.shares
        least = "at least " if self.round_to > 1 else ""
        return (
            f"{least}{self.common:,} in common with {self.peer}: {own:.1%} of {self.own_ids:,} here, {peer:.1%} of "
            f"{self.peer_ids:,} there (run {self.run} with this peer)"
        )


_RESULTS: TypeAdapter[list[Overlap]] = TypeAdapter(list[Overlap])


def results_of(directory: Path) -> list[Overlap]:
    """All that was counted in a task, the oldest first. `directory`: the task's."""
    path = directory / DIRECTORY / RESULTS
    return _RESULTS.validate_json(path.read_bytes()) if path.exists() else []


def keep_results(directory: Path, found: list[Overlap]) -> None:
    """Add these."""
    write_private(directory / DIRECTORY / RESULTS, _RESULTS.dump_json([*results_of(directory), *found], indent=1))


class RunCount:
    """The counts of one home.

    Args:
        home: the party's home directory.
        party: for errors.
        most: runs that a peer may have, over all tasks.
    """

    def __init__(self, home: Path, party: str, most: int) -> None:
        self._path, self._party, self._most = home / RUNS, party, most

    def begin(self, peer: str, certificate: str) -> int:
        """Ids are about to be counted with a peer; the how manieth time.

        Args:
            peer: its name.
            certificate: its fingerprint.

        Raises:
            WrongSession: it has had as many runs as this party allows. Nothing is counted then.
            TaskError: the counts cannot be read or written.
        """
        consequence = "how often ids were counted is not known, so they are not. Check the disk"
        with transaction(self._path, _SCHEMA, consequence) as db:
            row = db.execute("SELECT times FROM runs WHERE peer = ?", (certificate,)).fetchone()
            times = 1 + (row[0] if row is not None else 0)
            if times > self._most:
                raise WrongSession(
                    f"max_runs: {self._party} counts common ids with a peer {self._most} times at most, over all "
                    f"tasks, and has done so with {peer}: one set after the other would show which ids are common. "
                    f"Nothing was sent of any id. {self._party} says --max-runs to allow more"
                )
            db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (certificate, times))
        return times
