"""The engine's errors, under the project's root in `protocols.core.errors`."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.core.errors import SecureHflError
from protocols.core.wording import plural
from protocols.task.abort_code import known_code


class ConfigurationError(SecureHflError):
    """An option, an environment variable or a scheduler's argument does not make sense."""


class TableError(SecureHflError):
    """A table cannot be trained on as it is. Says which column and how many cells, never what is in them."""


class StepError(SecureHflError):
    """`self.optimizer` was used in a way that has no meaning in the protocol."""


class UserCodeError(SecureHflError):
    """A method that the user implements raised an error or returned something it may not."""


class TaskFailed(SecureHflError):
    """A task ended without a result. The text is one line, the same reason at every party.

    Attributes:
        reason: what all parties were told.
        detail: what only this party may know, or "".
        code: why, for programs: an `AbortCode`, or the class of an error that is none of ours.
    """

    def __init__(self, reason: str, detail: str = "", code: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.code = code

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [f"TaskFailed: {self}"]


class TransportError(SecureHflError):
    """Something went wrong between two parties."""


class ConnectionLost(TransportError):
    """The connection to a peer broke, or the peer is gone."""


class PeerTimeout(TransportError):
    """A peer owed something and did not deliver in time."""


class MessageTooLarge(TransportError):
    """A message is longer than this party accepts."""


class PeerRefused(TransportError):
    """A peer could not be reached, did not join in time, or refused us."""


class PeerAborted(TransportError):
    """A peer stopped the task and said why.

    Attributes:
        code: an `AbortCode`, or the text of one that only newer versions know.
        local_detail: what this party knows about it, and keeps to itself.
    """

    def __init__(self, party: str, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.party = party
        self.reason = reason
        self.code = known_code(code)
        self.local_detail = ""


class PeerFault(TransportError):
    """A peer sent what the protocol does not allow. Names the peer; the cause says what."""

    def __init__(self, peer: str, error: SecureHflError) -> None:
        super().__init__(f"{peer}: {error}")
        self.peer = peer
        self.error = error
        self.__cause__ = error  # also where it is handed on and not raised


class IdentityError(SecureHflError):
    """A key, a certificate or a directory that holds them is not as it must be."""


class TaskError(SecureHflError):
    """Something about a task's record, or about what it was asked to do."""


class BackgroundFailed(TaskError):
    """A thread beside training ended with an error that is none of ours, which is its cause."""

    @classmethod
    def of(cls, error: Exception, work: str) -> SecureHflError:
        """What whoever waits for the thread is told: our own errors as they are."""
        if isinstance(error, SecureHflError):
            return error
        ours = cls(f"{type(error).__name__} while {work}: {error}")
        ours.__cause__ = error
        return ours


class TaskNotFound(TaskError):
    """No task matches, or several do. Lists them."""


class TaskExists(TaskError):
    """The task is in this home already."""


class TaskStateError(TaskError):
    """The task is not in a state in which this can be done."""


class DataCheckFailed(TaskError):
    """The task's last data check failed, so it does not start."""


class InvalidInvite(TaskError):
    """An invite is malformed, or not for this party. Says what is wrong and where."""


class SchemeMismatch(TaskError):
    """The parties have not agreed on one scheme; plain needs both to say so."""


class TermsMismatch(TaskError):
    """The host plans more than this party allows."""


class LocalRunFailed(SecureHflError):
    """A party of a run on this machine (the demo, a benchmark) failed."""


class EmptyIntersection(SecureHflError):
    """The parties have no sample id in common.

    Attributes:
        local_detail: what only this party may know; it is not sent.
    """

    def __init__(self, text: str, local_detail: str = "") -> None:
        super().__init__(text)
        self.local_detail = local_detail


class TranscriptNotWritten(SecureHflError):
    """What crosses the wire cannot be recorded, so nothing more may cross it."""


class CheckpointRefused(SecureHflError):
    """A checkpoint is torn, foreign or of another version. Says which, and why."""


class CheckpointNotWritten(SecureHflError):
    """A checkpoint could not be written or removed. The earlier ones are still there."""


class Stopped(SecureHflError):
    """This party's user stopped the task."""


class TasksFailed(TaskFailed):
    """Of several tasks that ran in one process, these ended without a result. The others have finished.

    Attributes:
        failed: the error of each, usually a `TaskFailed`, by the reference it was launched with.
    """

    def __init__(self, failed: Mapping[str, BaseException], launched: int) -> None:
        listed = "; ".join(f"{reference}: {error}" for reference, error in failed.items())
        super().__init__(f"{len(failed):,} of {plural(launched, 'task')} failed: {listed}")
        self.failed = dict(failed)


class ResumeLimit(SecureHflError):
    """A task was interrupted too often after the same checkpoint."""
