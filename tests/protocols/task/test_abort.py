"""The codes that travel when a task ends, and that every error has one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import protocols
import secure_hfl
from protocols.core.envelope import Phase, Place
from protocols.core.errors import InvalidInput, SecureHflError
from protocols.task.abort import Abort, AbortCode, known_code
from secure_hfl.engine.abort_codes import ABORT_CODES, code_of
from secure_hfl.engine.failure import diagnose
from secure_hfl.engine.recovery import ShuttingDown, is_resumable
from secure_hfl.errors import ConnectionLost, PeerAborted

VALUES = [
    "AnnouncedTooLarge",
    "BackgroundFailed",
    "BudgetSpent",
    "CallOutOfOrder",
    "CheckpointNotWritten",
    "CheckpointRefused",
    "ConfigurationError",
    "ConnectionLost",
    "DataCheckFailed",
    "EmptyIntersection",
    "IdentityError",
    "InvalidCiphertext",
    "InvalidInput",
    "InvalidInvite",
    "InvalidPoint",
    "LimitExceeded",
    "LocalMisuse",
    "LocalRunFailed",
    "MalformedMessage",
    "MessageOutOfOrder",
    "MessageTooLarge",
    "Misaligned",
    "MissingExtra",
    "OutOfRange",
    "PeerAborted",
    "PeerFault",
    "PeerRefused",
    "PeerTimeout",
    "PeerViolation",
    "PoolExhausted",
    "ProtocolError",
    "ResumeLimit",
    "RoleAlreadyUsed",
    "SchemeMismatch",
    "SecureHflError",
    "ShuttingDown",
    "StepError",
    "Stopped",
    "TableError",
    "TaskError",
    "TaskExists",
    "TaskFailed",
    "TaskNotFound",
    "TaskStateError",
    "TasksFailed",
    "TermsMismatch",
    "TranscriptNotWritten",
    "TransportError",
    "UserCodeError",
    "VerificationFailed",
    "WrongSession",
]
"""As they travel since version 0.1. A value may be added; none may change or go."""

NOT_OF_A_TASK = (
    "protocols.transcript.errors",
    "protocols.judge.",
    "secure_hfl.audit.",
    "secure_hfl.cli.",
    "secure_hfl.console.",
    "secure_hfl.judge.",
    "secure_hfl.prediction.service",
)
"""Where errors are made that only commands raise."""


def error_classes() -> Iterator[type[SecureHflError]]:
    for package in (protocols, secure_hfl):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".examples." not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    waiting: list[type[SecureHflError]] = [SecureHflError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith(("protocols.", "secure_hfl.")) and not kind.__module__.startswith(NOT_OF_A_TASK):
            yield kind


def test_the_values_are_those_that_have_always_travelled() -> None:
    assert sorted(AbortCode) == VALUES


def test_every_error_that_can_end_a_task_has_a_code() -> None:
    kinds = list(error_classes())
    assert len(kinds) > 40
    assert {kind.__name__ for kind in kinds if kind not in ABORT_CODES} == set()


def test_a_code_stands_for_one_kind_of_error() -> None:
    # Two errors mean the same: the user has stopped the task, once from outside and once at the keyboard.
    twice = {code for code in AbortCode if list(ABORT_CODES.values()).count(code) > 1}
    assert twice == {AbortCode.STOPPED}


def test_a_plug_ins_error_travels_as_the_nearest_that_peers_know() -> None:
    class OfAPlugIn(InvalidInput):
        pass

    assert code_of(OfAPlugIn("x")) is AbortCode.INVALID_INPUT


def test_a_defect_travels_as_its_class() -> None:
    assert code_of(KeyError("x")) == "KeyError"
    assert not is_resumable(PeerAborted("host", "x", "KeyError"))


def test_a_newer_peers_code_stays_a_text_and_ends_the_task() -> None:
    error = PeerAborted("host", "the moon is full", "FullMoon")
    assert known_code("FullMoon") == "FullMoon" == error.code
    assert not isinstance(error.code, AbortCode)
    assert not is_resumable(error)
    assert diagnose(error, "us", Place(Phase.JOIN)).code == "FullMoon"


@pytest.mark.parametrize("code", AbortCode)
def test_after_which_codes_the_sender_may_come_back(code: AbortCode) -> None:
    error = PeerAborted("host", "a reason", code.value)
    assert error.code is code
    assert is_resumable(error) == (code in {AbortCode.CONNECTION_LOST, AbortCode.SHUTTING_DOWN})


@pytest.mark.parametrize(
    ("error", "code"),
    [(ShuttingDown(), "ShuttingDown"), (KeyboardInterrupt(), "Stopped"), (ConnectionLost("gone"), "ConnectionLost")],
)
def test_what_is_sent_is_plain_text(error: BaseException, code: str) -> None:
    failure = diagnose(error, "us", Place(Phase.TRAIN, 1))
    assert Abort(failure.reason, failure.party, str(failure.code)).code == code
    assert type(str(failure.code)) is str


def test_a_code_reads_as_its_value() -> None:
    assert f"stopped: {AbortCode.MISALIGNED}" == "stopped: Misaligned"
    assert {"Misaligned": 1}[AbortCode.MISALIGNED] == 1
