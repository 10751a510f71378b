"""Runs the HTTP server: from a socket that listens to the signed end of the last session.

    listen ─▶ the service lets collaborators in ─▶ requests ─▶ SIGTERM, Ctrl-C or `stop` ─▶ what is being answered is
    answered, everything else gets 503 ─▶ the session is signed and ended ─▶ the socket is closed

A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import uvicorn

from secure_hfl.errors import ConfigurationError
from secure_hfl.listening import Place
from secure_hfl.log import logger
from secure_hfl.prediction.service import Listener
from secure_hfl.serving.app import Application, HttpLimits, Predictor
from secure_hfl.serving.connections import BriefConnection
from secure_hfl.serving.figures import Figures
from secure_hfl.serving.token import Token, read_or_make

MOST_CONNECTIONS = 512
GRACE_SECONDS = 5
"""For the last answers to reach their clients."""

WATCH_SECONDS = 0.2


class Service(Predictor, Protocol):
    """What the server starts and stops: a `PredictionService`."""

    listener: Listener

    def start(self) -> None: ...
    def stop(self) -> None: ...
    @property
    def failure(self) -> BaseException | None: ...


@dataclass(frozen=True)
class HttpOptions:
    """How the server is to run.

    Attributes:
        place: where it listens.
        token_file: of the bearer token; made where there is none.
        limits: of a request.
        say: where the address, and a token that was made, are shown; by default on standard output.
        shows_token: whether a token that was made is shown there. By default on a terminal only: logs of services and
            notebooks are kept, and read by others.
    """

    place: Place
    token_file: Path
    limits: HttpLimits = field(default_factory=HttpLimits)
    say: Callable[[str], None] = field(default=lambda text: print(text, flush=True))
    shows_token: bool = field(default_factory=lambda: sys.stdout.isatty())


class _Server(uvicorn.Server):
    """Signals are ours."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


class HttpServer:
    """One. Runs once.

    Args:
        service: what predicts.
        options: how.

    Raises:
        ConfigurationError: it may not listen there, or cannot, or the token's file cannot be used.
    """

    def __init__(self, service: Service, options: HttpOptions) -> None:
        options.place.check("whoever has the token can ask for predictions there")
        self._service, self._options = service, options
        self._token: Token = read_or_make(options.token_file)
        figures = Figures()
        service.listener = figures
        app = Application(service, self._token, figures, options.limits).starlette()
        self._server = _Server(_configuration(app, options.place))
        self._socket = options.place.listen("the server of predictions")
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._options.place.url(self._socket.getsockname()[1])

    def run(self) -> None:
        """Until SIGTERM, Ctrl-C or `stop`.

        Raises:
            SecureHflError: the service has ended by itself. Says why.
        """
        say = self._options.say
        say(f"Predictions at {self.url}/predict. Ctrl-C or SIGTERM stops.")
        say(f"The token is in {self._options.token_file}")
        if self._token.is_new and self._options.shows_token:
            say(f"Shown this once, it is: {self._token.reveal()}")
        with closing(self._socket), self._listening():
            self._service.start()
            self._run()
        if self._service.failure is not None:
            raise self._service.failure
        logger.info("The server of predictions has stopped.")

    def _run(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._serve())
            return
        ended: Future[None] = Future()  # a notebook's own loop is at this thread

        def run() -> None:
            try:
                asyncio.run(self._serve())
                ended.set_result(None)
            except BaseException as error:
                ended.set_exception(error)

        threading.Thread(target=run, name="http", daemon=True).start()
        ended.result()

    def stop(self) -> None:
        """Stop, from any thread. May be called again."""
        self._stopping.set()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """To signals, which the main thread alone gets."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: object) -> None:
            if self._stopping.is_set():
                raise KeyboardInterrupt
            logger.info("Stopping: what is being answered is answered.")
            self.stop()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not serving.done() and not self._stopping.is_set() and self._service.failure is None:
            await asyncio.sleep(WATCH_SECONDS)
        # Requests that wait, or come now, hear from the service that it stops. Not in asyncio's own threads: a second
        # signal must not wait for them.
        stopping = threading.Thread(target=self._service.stop, daemon=True)
        stopping.start()
        while stopping.is_alive():
            await asyncio.sleep(WATCH_SECONDS / 4)
        self._server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving


def _configuration(app: Any, place: Place) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BriefConnection,
        access_log=False,
        log_config=None,
        log_level="error",  # what is no HTTP is a warning to uvicorn, and whoever sends it could fill the log
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=None if place.tls_cert is None else str(place.tls_cert),
        ssl_keyfile=None if place.tls_key is None else str(place.tls_key),
    )


def options_of(
    http: str,
    token_file: Path,
    tls: tuple[Path | None, Path | None] = (None, None),
    allow_remote: bool = False,
    wait_seconds: float | None = None,
) -> HttpOptions:
    """From what a user says. Raises `ConfigurationError`."""
    place = Place.parse(http, *tls, allow_remote)
    limits = HttpLimits() if wait_seconds is None else HttpLimits(wait_seconds=wait_seconds)
    if not limits.wait_seconds > 0:
        raise ConfigurationError(f"a request waits for a positive number of seconds, not {limits.wait_seconds:g}")
    return HttpOptions(place, token_file, limits)
