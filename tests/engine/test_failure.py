"""What an error becomes: one line for everybody, and one that stays at home."""

from __future__ import annotations

import pytest

from protocols.core.envelope import Phase, Place
from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.task.abort import AbortCode
from secure_hfl.engine.failure import MAX_REASON, diagnose, one_line
from secure_hfl.engine.shutdown import ShuttingDown
from secure_hfl.errors import (
    ConfigurationError,
    ConnectionLost,
    EmptyIntersection,
    PeerAborted,
    PeerFault,
    StepError,
    UserCodeError,
)

PLACE = Place(Phase.TRAIN, 2, 6)
VALUE = "patient 4711 has 38.5"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserCodeError(f"train_a_batch raised ValueError: {VALUE}"), AbortCode.USER_CODE_ERROR),
        (InvalidInput(VALUE), AbortCode.INVALID_INPUT),
        (StepError(VALUE), AbortCode.STEP_ERROR),
        (ConfigurationError(VALUE), AbortCode.CONFIGURATION_ERROR),
        (ZeroDivisionError(VALUE), "ZeroDivisionError"),
    ],
)
def test_what_could_hold_a_value_stays_at_home(error: Exception, code: str) -> None:
    failure = diagnose(error, "bank", PLACE)
    assert failure.reason == f"bank stopped in training round 2, batch 7: {code}"
    assert VALUE in failure.detail
    assert failure.code == code
    assert VALUE in str(failure.error())
    assert not failure.from_peer


def test_a_peers_reason_is_passed_on_as_it_is() -> None:
    error = PeerAborted("shop", "shop stopped", "UserCodeError")
    error.local_detail = "only we know"
    failure = diagnose(error, "bank", PLACE)
    assert (failure.party, failure.reason, failure.detail) == ("shop", "shop stopped", "only we know")
    assert failure.from_peer


def test_an_error_carries_its_own_detail() -> None:
    failure = diagnose(EmptyIntersection("no id is held by all", "ids look like 'digits'"), "bank", PLACE)
    assert (failure.reason, failure.detail) == ("no id is held by all", "ids look like 'digits'")


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (
            KeyboardInterrupt(),
            "bank was stopped by its user in training round 2, batch 7; all can go on with --resume",
            AbortCode.STOPPED,
        ),
        (ShuttingDown(), "it may come back", AbortCode.SHUTTING_DOWN),
        (ConnectionLost("shop is gone"), "shop is gone (in training round 2, batch 7)", AbortCode.CONNECTION_LOST),
        (PeerFault("shop", MalformedMessage("a field is unknown")), "shop: a field is unknown", AbortCode.PEER_FAULT),
    ],
)
def test_everyone_hears_what_has_happened(error: BaseException, reason: str, code: AbortCode) -> None:
    failure = diagnose(error, "bank", PLACE)
    assert reason in failure.reason
    assert failure.code is code
    assert not failure.detail


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\n b\t c", "a b c"), ("", "no reason given"), ("bell \a", "bell ?")],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line
    assert len(one_line("x" * 2 * MAX_REASON)) == MAX_REASON
