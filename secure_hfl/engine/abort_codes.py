"""Which `AbortCode` an error travels under.

A class that is not listed (a plug-in's own) travels as the nearest of its bases that is. An error of no class of ours
is a defect, here or in a library: its class name travels, as a text that no peer acts on.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocols.core import errors as core
from protocols.task.abort import AbortCode
from protocols.task.alignment import Misaligned
from secure_hfl import errors as engine

ABORT_CODES: Mapping[type[BaseException], AbortCode] = {
    core.InvalidInput: AbortCode.INVALID_INPUT,
    core.OutOfRange: AbortCode.OUT_OF_RANGE,
    core.RoleAlreadyUsed: AbortCode.ROLE_ALREADY_USED,
    core.CallOutOfOrder: AbortCode.CALL_OUT_OF_ORDER,
    core.PoolExhausted: AbortCode.POOL_EXHAUSTED,
    core.BudgetSpent: AbortCode.BUDGET_SPENT,
    core.LocalMisuse: AbortCode.LOCAL_MISUSE,
    core.PeerViolation: AbortCode.PEER_VIOLATION,
    core.MalformedMessage: AbortCode.MALFORMED_MESSAGE,
    core.AnnouncedTooLarge: AbortCode.ANNOUNCED_TOO_LARGE,
    core.MessageOutOfOrder: AbortCode.MESSAGE_OUT_OF_ORDER,
    core.WrongSession: AbortCode.WRONG_SESSION,
    core.InvalidPoint: AbortCode.INVALID_POINT,
    core.InvalidCiphertext: AbortCode.INVALID_CIPHERTEXT,
    core.VerificationFailed: AbortCode.VERIFICATION_FAILED,
    core.LimitExceeded: AbortCode.LIMIT_EXCEEDED,
    core.MissingExtra: AbortCode.MISSING_EXTRA,
    core.ProtocolError: AbortCode.PROTOCOL_ERROR,
    core.SecureHflError: AbortCode.SECURE_HFL_ERROR,
    Misaligned: AbortCode.MISALIGNED,
    engine.ConfigurationError: AbortCode.CONFIGURATION_ERROR,
    engine.StepError: AbortCode.STEP_ERROR,
    engine.UserCodeError: AbortCode.USER_CODE_ERROR,
    engine.TaskFailed: AbortCode.TASK_FAILED,
    engine.TasksFailed: AbortCode.TASKS_FAILED,
    engine.TransportError: AbortCode.TRANSPORT_ERROR,
    engine.ConnectionLost: AbortCode.CONNECTION_LOST,
    engine.PeerTimeout: AbortCode.PEER_TIMEOUT,
    engine.MessageTooLarge: AbortCode.MESSAGE_TOO_LARGE,
    engine.PeerRefused: AbortCode.PEER_REFUSED,
    engine.PeerAborted: AbortCode.PEER_ABORTED,
    engine.PeerFault: AbortCode.PEER_FAULT,
    engine.IdentityError: AbortCode.IDENTITY_ERROR,
    engine.TaskError: AbortCode.TASK_ERROR,
    engine.BackgroundFailed: AbortCode.BACKGROUND_FAILED,
    engine.TaskNotFound: AbortCode.TASK_NOT_FOUND,
    engine.TaskExists: AbortCode.TASK_EXISTS,
    engine.TaskStateError: AbortCode.TASK_STATE_ERROR,
    engine.DataCheckFailed: AbortCode.DATA_CHECK_FAILED,
    engine.TableError: AbortCode.TABLE_ERROR,
    engine.InvalidInvite: AbortCode.INVALID_INVITE,
    engine.SchemeMismatch: AbortCode.SCHEME_MISMATCH,
    engine.TermsMismatch: AbortCode.TERMS_MISMATCH,
    engine.LocalRunFailed: AbortCode.LOCAL_RUN_FAILED,
    engine.EmptyIntersection: AbortCode.EMPTY_INTERSECTION,
    engine.TranscriptNotWritten: AbortCode.TRANSCRIPT_NOT_WRITTEN,
    engine.CheckpointRefused: AbortCode.CHECKPOINT_REFUSED,
    engine.CheckpointNotWritten: AbortCode.CHECKPOINT_NOT_WRITTEN,
    engine.Stopped: AbortCode.STOPPED,
    engine.ResumeLimit: AbortCode.RESUME_LIMIT,
    KeyboardInterrupt: AbortCode.STOPPED,
}


def code_of(error: BaseException) -> AbortCode | str:
    """What peers are told of this error, for programs. A failed test is one, whoever is said to have failed it."""
    if isinstance(error, engine.PeerFault) and isinstance(error.error, core.VerificationFailed):
        error = error.error
    kind = type(error)
    return next((ABORT_CODES[each] for each in kind.__mro__ if each in ABORT_CODES), kind.__name__)
