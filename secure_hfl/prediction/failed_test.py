"""A Collaborator serves no predictions any more once a Host has failed a test of what it has sent.

    <task directory>/predictions/failed-test.txt      0600; which test, and when

Each test by itself leaves a cheating Host a chance, and some a bit of what it was tested by, which is kept for all
sessions (protocols/schemes/encrypted/share_marks.py). Who may fail and come again finds the rest out. So the first
failure is the last, in later processes too, until a person has looked into it and removes the file. It is written
before the Host is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocols.core.errors import VerificationFailed
from secure_hfl.errors import TaskStateError
from secure_hfl.files import write_private
from secure_hfl.tasks.record import utc_now

FAILED = "failed-test.txt"


class FailedTest:
    """Of one Collaborator in one task.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Around a session: a test that fails in it is written down."""
        try:
            yield
        except VerificationFailed as error:
            write_private(self._path, f"{utc_now().isoformat()} {error}\n".encode())
            raise

    def check(self) -> None:
        """Raise `TaskStateError` if a test has failed."""
        if self._path.exists():
            raise TaskStateError(
                f"no predictions are served: the host has failed a test of what it sends, which is in {self._path}. "
                "If it has come back with an older copy of its results, it needs the right ones; else it cheats. "
                "Remove the file to serve it again: each failure may tell it something"
            )
