"""A party does nothing more in a task in which a test of what is sent has failed, until a person says so.

    <task directory>/failed-test.txt               0600; which test, and when: training
    <task directory>/predictions/failed-test.txt   the same, of a Collaborator that serves predictions

Each test by itself leaves a cheating peer a chance, and some a bit of what it was tested by, which is kept for all
resumptions and sessions (protocols/schemes/shares/share_marks.py). Who may fail and come again finds the rest out.
So the first failure is the last, in later processes too, until a person has looked into it and removes the file. It is
written before the peer is told.

In training that a peer says so counts as well: of some tests who has failed them knows first (relation_test.py). In a
prediction it does not, or a host could end its collaborator's service by a word.

In a prediction a test counts as failed, too, if the session ends before it is answered, by the host's word, its silence
or a connection that broke: it knows that it is tested before it answers, and may come again as often as it likes. The
file is written before the question is sent, and goes with the answer: so it is there as well if this party's process is
killed meanwhile, by what the host has sent for example. What this party says of its own accord (a signal, an error that
it has caught) is not counted. In training it may come again so too, but not often: a task is resumed a few times only
(secure_hfl/checkpoints/resume_count.py).

What is found while both agree on a task (another certificate, a changed manifest) is not kept: it is found again every
time, and may be a slip in an invite.
"""

from __future__ import annotations

from pathlib import Path

from protocols.core.envelope import Phase
from protocols.core.errors import VerificationFailed
from protocols.task.abort import AbortCode
from secure_hfl.errors import PeerAborted, TaskStateError, TransportError
from secure_hfl.files import sync_directory, write_private
from secure_hfl.tasks.record import utc_now

FAILED = "failed-test.txt"
UNANSWERED = "the Host left a test of its share unanswered"


class FailedTest:
    """Of one party in one task.

    Args:
        directory: where the file is.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FAILED

    def keep(self, error: BaseException, phase: Phase, takes_their_word: bool = False) -> None:
        """Write down what ended a conversation in this phase, if it is a failed test.

        Args:
            takes_their_word: also if a peer says so.
        """
        if phase is not Phase.JOIN and (_is_failed_test(error) or (takes_their_word and _is_said_to_be(error))):
            self._write(str(error))

    def answer_owed(self, is_owed: bool) -> None:
        """From now on, or no longer, the host owes the answer to a test; nothing is kept yet, or only that.

        Raises:
            OSError: it cannot be written down. Then nothing may be asked.
        """
        if is_owed:
            self._write(f"{UNANSWERED}: this party's process was killed before the answer came")
        else:
            self._path.unlink(missing_ok=True)
            sync_directory(self._path.parent)

    def keep_unanswered(self, error: BaseException) -> None:
        """Write down what ended a session in which the host owed the answer to a test, unless it was this party."""
        if isinstance(error, TransportError):
            self._write(f"{UNANSWERED}: {error}")
        elif not _is_failed_test(error):  # that is written next, over what is there
            self.answer_owed(False)

    def _write(self, why: str) -> None:
        write_private(self._path, f"{utc_now().isoformat()} {why}\n".encode())

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def is_kept(self) -> bool:
        """Whether a test has failed."""
        return self._path.exists()

    def check_training(self) -> None:
        """Raise `TaskStateError` if a test has failed in this task."""
        self._check(
            "this task does not go on, and does not begin anew: a test of what the parties send has failed",
            "Whoever has come back with an older copy of its checkpoint needs the right one; else somebody cheats. "
            "Remove the file to go on nevertheless",
        )

    def check_serving(self) -> None:
        """Raise `TaskStateError` if the host has failed a test of its predictions, or left one unanswered."""
        self._check(
            "no predictions are served: the host has failed a test of what it sends, or has left one unanswered",
            "If it has come back with an older copy of its results, it needs the right ones; if a connection or a "
            "party's program broke down just when it was tested, nothing is wrong; else it cheats. Remove the file to "
            "serve it again",
        )

    def _check(self, what: str, what_to_do: str) -> None:
        if self.is_kept:
            why = "each failure may tell a cheating party something"
            raise TaskStateError(f"{what}, which is in {self._path}. {what_to_do}: {why}")


def _is_failed_test(error: BaseException | None) -> bool:
    """Whether it is one, or was caused by one: a link says whose fault an error is by another error around it."""
    while error is not None:
        if isinstance(error, VerificationFailed):
            return True
        error = error.__cause__
    return False


def _is_said_to_be(error: BaseException) -> bool:
    """Whether a peer has ended the task with one."""
    return isinstance(error, PeerAborted) and error.code is AbortCode.VERIFICATION_FAILED
