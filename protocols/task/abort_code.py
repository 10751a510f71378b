"""Why a task ends, as a program reads it. By itself, since errors know it, and errors are imported before numpy."""

from __future__ import annotations

from enum import Enum


class AbortCode(str, Enum):
    """Why a task ends, for programs. What travels is the value, so the values are wire constants: they never change,
    whatever the class of an error is called. Some mean that the sender may come back; the receiver decides on that.
    """

    INVALID_INPUT = "InvalidInput"
    OUT_OF_RANGE = "OutOfRange"
    ROLE_ALREADY_USED = "RoleAlreadyUsed"
    CALL_OUT_OF_ORDER = "CallOutOfOrder"
    POOL_EXHAUSTED = "PoolExhausted"
    BUDGET_SPENT = "BudgetSpent"
    LOCAL_MISUSE = "LocalMisuse"
    PEER_VIOLATION = "PeerViolation"
    MALFORMED_MESSAGE = "MalformedMessage"
    ANNOUNCED_TOO_LARGE = "AnnouncedTooLarge"
    MESSAGE_OUT_OF_ORDER = "MessageOutOfOrder"
    WRONG_SESSION = "WrongSession"
    INVALID_POINT = "InvalidPoint"
    INVALID_CIPHERTEXT = "InvalidCiphertext"
    VERIFICATION_FAILED = "VerificationFailed"
    LIMIT_EXCEEDED = "LimitExceeded"
    MISALIGNED = "Misaligned"
    MISSING_EXTRA = "MissingExtra"
    CONFIGURATION_ERROR = "ConfigurationError"
    STEP_ERROR = "StepError"
    USER_CODE_ERROR = "UserCodeError"
    TASK_FAILED = "TaskFailed"
    TASKS_FAILED = "TasksFailed"
    TRANSPORT_ERROR = "TransportError"
    CONNECTION_LOST = "ConnectionLost"
    PEER_TIMEOUT = "PeerTimeout"
    MESSAGE_TOO_LARGE = "MessageTooLarge"
    PEER_REFUSED = "PeerRefused"
    PEER_ABORTED = "PeerAborted"
    PEER_FAULT = "PeerFault"
    IDENTITY_ERROR = "IdentityError"
    TASK_ERROR = "TaskError"
    BACKGROUND_FAILED = "BackgroundFailed"
    TASK_NOT_FOUND = "TaskNotFound"
    TASK_EXISTS = "TaskExists"
    TASK_STATE_ERROR = "TaskStateError"
    DATA_CHECK_FAILED = "DataCheckFailed"
    TABLE_ERROR = "TableError"
    INVALID_INVITE = "InvalidInvite"
    SCHEME_MISMATCH = "SchemeMismatch"
    TERMS_MISMATCH = "TermsMismatch"
    LOCAL_RUN_FAILED = "LocalRunFailed"
    EMPTY_INTERSECTION = "EmptyIntersection"
    TRANSCRIPT_NOT_WRITTEN = "TranscriptNotWritten"
    CHECKPOINT_REFUSED = "CheckpointRefused"
    CHECKPOINT_NOT_WRITTEN = "CheckpointNotWritten"
    STOPPED = "Stopped"
    RESUME_LIMIT = "ResumeLimit"
    SHUTTING_DOWN = "ShuttingDown"
    PROTOCOL_ERROR = "ProtocolError"
    SECURE_HFL_ERROR = "SecureHflError"

    def __str__(self) -> str:
        return self.value


def known_code(text: str) -> AbortCode | str:
    """The code that a peer sent; one that only a newer peer knows stays as it is."""
    try:
        return AbortCode(text)
    except ValueError:
        return text
