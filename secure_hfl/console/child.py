"""Heavy work in a process of its own: the console goes on answering, and does not keep what the work has loaded."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar, cast

from protocols.core.errors import SecureHflError
from protocols.core.sentence import say, text_of

SECONDS = 600.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class ChildFailed(SecureHflError):
    """The work failed, with this text, or took too long.

    Attributes:
        kind: name of the class of the error that it raised; "": it raised none.
    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


def in_child(function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """What a function of a module returns for these arguments.

    Raises:
        ChildFailed: it raised an error of ours, whose text this has; it took longer than ten minutes; or it died.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, function, args, kwargs), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            raise ChildFailed(say("this took longer than {seconds:.0f} s and was stopped", seconds=SECONDS))
        is_done, result = ours.recv()
    except EOFError:
        raise ChildFailed("the process that did this work has died; the console's terminal may say why") from None
    finally:
        ours.close()
        child.kill()
        child.join()
    if not is_done:
        raise ChildFailed(*result)
    return cast(Result, result)


def _work(answer: Connection, function: Callable[..., object], args: Any, kwargs: Any) -> None:
    try:
        answer.send((True, function(*args, **kwargs)))
    except SecureHflError as error:
        answer.send((False, (text_of(error), type(error).__name__)))
