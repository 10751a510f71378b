"""Whether a collaborator that introduces itself is about to run the same as the host: each difference in its words."""

from __future__ import annotations

from protocols.core.errors import WrongSession
from protocols.task.manifest import PROTOCOL_VERSION, Hello


def check_hello(
    hello: Hello,
    task_id: str,
    scheme: str,
    is_reproducible: bool,
    is_resuming: bool = False,
    trained: bytes = b"",
    is_overlap: bool = False,
) -> None:
    """Raise `WrongSession` when a collaborator is about to run something else than the host."""
    who = hello.feature_key
    if hello.protocol_version != PROTOCOL_VERSION:
        raise WrongSession(
            f"protocol version: the host speaks {PROTOCOL_VERSION}, {who} speaks {hello.protocol_version}; "
            "install the same secure-hfl on both sides"
        )
    if hello.task_id != task_id:
        raise WrongSession(f"task: the host runs {task_id}, {who} runs {hello.task_id}")
    _check_kind(hello, trained, is_overlap)
    if hello.scheme != scheme:
        raise WrongSession(
            f"scheme: the host asks for {scheme!r}, {who} for {hello.scheme!r}; no data was sent. "
            "Both sides must choose the same scheme"
        )
    if hello.is_reproducible != is_reproducible:
        raise WrongSession(
            f"seed: {'only the host' if is_reproducible else 'only ' + who} runs with a seed. "
            "A reproducible run is not secret, so both sides must ask for it"
        )
    if hello.is_resuming != is_resuming:
        one, other = ("the host", who) if is_resuming else (who, "the host")
        raise WrongSession(
            f"resume: {one} goes on with an interrupted task, {other} starts it anew; nothing was lost. "
            "Start all parties again: all with --resume, or all without"
        )


def _check_kind(hello: Hello, trained: bytes, is_overlap: bool) -> None:
    """Training, predictions of one training's result, or counting ids."""
    who = hello.feature_key
    if hello.is_overlap != is_overlap:
        one, other = ("the host", who) if is_overlap else (who, "the host")
        raise WrongSession(
            f"kind: {one} counts the ids that both hold (`secure-hfl overlap`), {other} does something else with the "
            "task; no data was sent. Start the same at all parties"
        )
    if bool(hello.trained) != bool(trained):
        one, other = ("the host", who) if trained else (who, "the host")
        raise WrongSession(
            f"kind: {one} predicts with what the task has trained, {other} trains it; no data was sent. To predict, "
            "the host runs `secure-hfl predict` and every collaborator `secure-hfl serve`"
        )
    if hello.trained != trained:
        raise WrongSession(
            f"result: the host predicts with the result of another training than {who}; no data was sent. All parties "
            "must have the results, and the transcripts, of the same run of the task"
        )
