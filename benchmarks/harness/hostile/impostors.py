"""Servers that have the host's own key but are no host of ours: attacks on a collaborator that looks for its host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from benchmarks.harness.limits import seconds
from protocols.wire.frames import CHUNK_BYTES, cut
from secure_hfl.identity import Identity
from secure_hfl.transport.tls import ACCEPTED_KEY, METHOD, SERVER_OPTIONS, SERVICE, server_credentials

QUIET = 20.0

LIMIT, GRACE = "<limit>", "<grace>"
"""How long the collaborator waits: for its host, and for a message of it."""

Behaviour = Callable[[grpc.ServicerContext], Iterator[bytes]]


def _until_gone(context: grpc.ServicerContext) -> None:
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(seconds(QUIET))


def _mute(context: grpc.ServicerContext) -> Iterator[bytes]:
    _until_gone(context)
    yield b""


def _other_program(context: grpc.ServicerContext) -> Iterator[bytes]:
    context.send_initial_metadata((("server", "another"),))
    yield from _mute(context)


def _admits_then(*frames: bytes) -> Behaviour:
    def behave(context: grpc.ServicerContext) -> Iterator[bytes]:
        context.send_initial_metadata(((ACCEPTED_KEY, "1"),))
        yield from frames
        _until_gone(context)

    return behave


def _shouts(context: grpc.ServicerContext) -> Iterator[bytes]:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "\x1b[2J\n" + "x" * 6000)
    yield b""


def _endless_noise(context: grpc.ServicerContext) -> Iterator[bytes]:
    context.send_initial_metadata(((ACCEPTED_KEY, "1"),))
    while context.is_active():
        yield bytes(1000)


IMPOSTORS: dict[str, tuple[Behaviour, str]] = {
    "never answers": (_mute, f"^no connection to party0 within {LIMIT} s"),
    "answers otherwise": (_other_program, "^party0 did not admit us .it answers otherwise"),
    "refuses at length": (_shouts, r"^party0 did not admit us \( ?\[2J x{200,400}\)\. Check"),
    "half a message": (
        _admits_then(next(cut(bytes(CHUNK_BYTES + 1)))),
        f"^party0 owed Manifest for {GRACE} s in joining$",
    ),
    "endless noise": (_endless_noise, "^party0: "),
}
"""What a server with the host's own key does, and what the collaborator must say of it."""


@contextmanager
def impostor(port: int, identity: Identity, participants: tuple[bytes, ...], behave: Behaviour) -> Iterator[None]:
    """A gRPC server on loopback that has the host's key and behaves like this."""
    server = grpc.server(ThreadPoolExecutor(4), options=SERVER_OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(lambda _, context: behave(context))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_secure_port(f"127.0.0.1:{port}", server_credentials(identity, lambda: participants))
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()
