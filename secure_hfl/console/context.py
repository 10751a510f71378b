"""What all pages of one console share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from starlette.requests import Request

from secure_hfl.console.child import in_child
from secure_hfl.console.sessions import Session, Sessions
from secure_hfl.console.words import Words
from secure_hfl.tasks import TaskRecord, TaskStore

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Apart(Protocol):
    """Calls a function somewhere else."""

    def __call__(
        self, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """What it returns for these arguments."""


@dataclass(frozen=True)
class Context:
    """One console.

    Attributes:
        home: the party's directory.
        sessions: the browsers that are signed in.
        names: what a browser may call this server, in lower case; "*.example.org" means any name right below.
        cookie: the name of its cookie. Browsers send cookies to every port of a machine, so each console has its own.
        is_secure: served over TLS.
        scripts: folders whose scripts may be run.
        apart: calls a function for heavy work in another process, and returns what it returns.
        announce: called when the one-time address has been used, so that another one can be printed.
    """

    home: Path
    sessions: Sessions = field(repr=False)
    names: frozenset[str]
    cookie: str = "secure_hfl_console"
    is_secure: bool = False
    scripts: tuple[Path, ...] = ()
    announce: Callable[[], None] = lambda: None
    apart: Apart = in_child

    @property
    def store(self) -> TaskStore:
        """The party's tasks. Opened anew, as a command does."""
        return TaskStore(self.home)


def context_of(request: Request) -> Context:
    """The console that a request came to."""
    found: Context = request.app.state.context
    return found


def session_of(request: Request) -> Session | None:
    """Who asks; None if nobody is signed in."""
    found: Session | None = request.scope.get("state", {}).get("session")
    return found


def words_of(request: Request) -> Words:
    """In the language of who asks."""
    found: Words = request.scope["state"]["words"]
    return found


def task_of(request: Request) -> TaskRecord:
    """The task that the path names ({task}).

    Raises:
        TaskNotFound: there is none.
    """
    return context_of(request).store.get(request.path_params["task"])
