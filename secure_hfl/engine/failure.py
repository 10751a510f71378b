"""From an exception to one line that every party may read, and one that only this party may.

What peers are told names the party, where it happened and the kind of error. Texts that could hold values of tensors,
ids, paths or anything of the user's code stay at home: in the local line and in the task's log.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.envelope import Place
from protocols.core.errors import LocalMisuse, SecureHflError
from protocols.task.abort import AbortCode
from secure_hfl.engine.abort_codes import code_of
from secure_hfl.engine.shutdown import ShuttingDown
from secure_hfl.errors import (
    ConfigurationError,
    ConnectionLost,
    EmptyIntersection,
    PeerAborted,
    StepError,
    TaskError,
    TaskFailed,
    UserCodeError,
)

MAX_REASON = 500
"""What fits into an Abort message."""


@dataclass(frozen=True)
class Failure:
    """Why a task ends: `party` and `code` for programs, `reason` for everyone, `detail` for this party only."""

    party: str
    code: AbortCode | str
    reason: str
    detail: str = ""
    from_peer: bool = False

    def error(self) -> TaskFailed:
        """The exception that `launch_task` raises."""
        return TaskFailed(self.reason, self.detail, self.code)


def one_line(text: str, limit: int = MAX_REASON) -> str:
    """Printable, on one line, and not longer than a limit."""
    flat = " ".join(text.split())
    clean = "".join(character if character.isprintable() else "?" for character in flat) or "no reason given"
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def diagnose(error: BaseException, party: str, place: Place) -> Failure:
    """Say who failed, and what may be told to whom.

    Args:
        error: what ended the run here.
        party: this party's feature key.
        place: where in the task this party was.
    """
    code = code_of(error)
    if isinstance(error, PeerAborted):
        return Failure(error.party, error.code, error.reason, error.local_detail, from_peer=True)
    if isinstance(error, KeyboardInterrupt):
        return Failure(party, code, f"{party} was stopped by its user in {place}; all can go on with --resume")
    if isinstance(error, ShuttingDown):
        reason = f"{party} was shut down in {place}; it may come back, with --resume, while the others wait for it"
        return Failure(party, AbortCode.SHUTTING_DOWN, reason)
    if isinstance(error, ConnectionLost):
        return Failure(party, code, one_line(f"{error} (in {place})"))
    if isinstance(error, (LocalMisuse, UserCodeError)) or not isinstance(error, SecureHflError):
        return Failure(party, code, f"{party} stopped in {place}: {code}", one_line(str(error)))
    if isinstance(error, (ConfigurationError, StepError, TaskError)):
        return Failure(party, code, f"{party} stopped in {place}: {code}", one_line(str(error)))
    detail = error.local_detail if isinstance(error, EmptyIntersection) else ""
    return Failure(party, code, one_line(str(error)), detail)
