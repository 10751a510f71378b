"""The host's side: one gRPC server, a lobby per task, a channel per collaborator.

TLS handshake    only clients that hold the key of a certificate pinned by an open task get through
RPC              names a task in its metadata; the certificate must be a participant's of that very task
Lobby            gives the name that the certificate stands for, once at a time
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hmac import compare_digest
from ipaddress import ip_address
from typing import Any

import grpc

from protocols.core.errors import SecureHflError
from protocols.wire.codec import Catalogue
from secure_hfl.errors import ConnectionLost, IdentityError, PeerRefused, TransportError
from secure_hfl.identity import Identity, check_certificate, fingerprint_of
from secure_hfl.transport import forks
from secure_hfl.transport.channel import Channel, ChannelLimits
from secure_hfl.transport.tls import ACCEPTED_KEY, METHOD, SERVER_OPTIONS, SERVICE, TASK_ID_KEY, server_credentials

_LOG = logging.getLogger(__name__)

MAX_STREAMS = 1024

# One text whether the task or the certificate is the wrong one: strangers to a task do not learn that it exists.
_NOT_A_PARTICIPANT = "no open task with this id lists your certificate"
_CONNECTED_ALREADY = "this participant is connected already"
_INTERNAL = "the host failed; its log says why"


class Lobby:
    """Where the collaborators of one task arrive. Made by `PartyServer.open_task`; closing it admits nobody more.

    Attributes:
        on_change: called with a participant's name, and whether it has come or its connection is over, from the
            thread that finds out. Must return quickly and must not raise.
    """

    def __init__(
        self,
        task_id: str,
        participants: Mapping[str, bytes],
        limits: ChannelLimits | None,
        catalogue: Catalogue,
        on_close: Callable[[], None],
    ) -> None:
        self.task_id = task_id
        self.certificates = dict(participants)
        self._fingerprints = {name: check_certificate(pem).fingerprint for name, pem in participants.items()}
        self._limits = limits
        self._catalogue = catalogue
        self._on_close = on_close
        self._channels: dict[str, Channel] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self.on_change: Callable[[str, bool], None] = _nobody_listens

    def wait(self, timeout: float | None) -> dict[str, Channel]:
        """The open channels, in the order of the participants, once everybody is here.

        Call it again after a channel has failed to wait for that participant's return.

        Raises:
            PeerRefused: Somebody has not come. Names them.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or not self._missing(), timeout)
            if self._missing():
                if self._is_closed:
                    raise PeerRefused(f"task {self.task_id} is no longer open")
                names = ", ".join(self._missing())
                raise PeerRefused(
                    f"{names} did not join task {self.task_id} within {timeout:g} s; "
                    "is it running there, with this host's address and certificate?"
                )
            return {name: self._channels[name] for name in self._fingerprints}

    def arrived(self) -> dict[str, Channel]:
        """The open channels of those who are here."""
        with self._changed:
            return {name: channel for name, channel in self._channels.items() if channel.is_usable}

    def close(self) -> None:
        """Admit nobody more, and wait for nobody. Open channels stay open."""
        self._on_close()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __enter__(self) -> Lobby:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the participants' certificates."""
        return tuple(self._fingerprints.values())

    def name_of(self, fingerprint: str) -> str | None:
        """The participant that a certificate belongs to."""
        for name, pinned in self._fingerprints.items():
            if compare_digest(pinned, fingerprint):
                return name
        return None

    def seat(self, name: str, hang_up: Callable[[], None]) -> Channel | None:
        """A channel for a participant that has arrived; None while an earlier one of the same name is usable."""
        with self._changed:
            earlier = self._channels.get(name)
            if earlier is not None and earlier.is_usable:
                return None
            channel = self._channels[name] = Channel(name, self._catalogue, hang_up, self._limits)
            self._changed.notify_all()
        if earlier is not None:
            with suppress(SecureHflError):
                earlier.close(0)  # who comes again and again does not keep a stream for each time
        self.on_change(name, True)
        return channel

    def left(self, channel: Channel) -> None:
        """The stream of a channel is over."""
        with self._changed:
            is_latest = self._channels.get(channel.peer) is channel
        if is_latest:
            self.on_change(channel.peer, False)

    def _missing(self) -> list[str]:
        return [n for n in self._fingerprints if n not in self._channels or not self._channels[n].is_usable]


def _nobody_listens(name: str, is_here: bool) -> None:
    """Who comes and goes."""


def listen_address(address: str) -> str:
    """Where to listen so that peers reach the host as "host:port": on all interfaces, or on loopback if it says so."""
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    try:
        is_loopback = ip_address(bare).is_loopback
    except ValueError:
        is_loopback = bare == "localhost"
    return f"{host}:{port}" if is_loopback else f"[::]:{port}"


def _why_not(address: str) -> str:
    """Why nobody can listen there, and what to do."""
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((bare, int(port)))
            probe.listen()
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                return (
                    f"another process has the port, perhaps a run or a notebook that has not ended "
                    f"(`ss -ltnp sport = :{port}` names it). End it, or create the task with another port"
                )
            case errno.EADDRNOTAVAIL:
                return "the address is not this machine's"
            case _:
                return str(error.strerror or error)
    return "is the address this machine's, and the port free?"


class PartyServer:
    """Listens for the collaborators of any number of tasks.

    Args:
        listen_address: "host:port"; port 0 takes a free one.
        identity: This party's key and certificate.

    Attributes:
        port: The port it listens on.

    Raises:
        TransportError: It cannot listen there.
    """

    def __init__(self, listen_address: str, identity: Identity) -> None:
        self._lock = threading.Lock()
        self._lobbies: dict[str, Lobby] = {}
        self._refused: set[str] = set()
        self._over: set[tuple[str, str]] = set()
        """Tasks that were open, and the fingerprints of their participants."""
        self._has_stopped = False
        self._server = grpc.server(_ThreadPerStream(), options=SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_STREAMS)
        handler = grpc.stream_stream_rpc_method_handler(self._exchange)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        try:
            self.port = self._server.add_secure_port(listen_address, server_credentials(identity, self._pinned))
        except RuntimeError as error:
            raise TransportError(f"cannot listen on {listen_address}: {_why_not(listen_address)}") from error
        self._server.start()
        forks.listens(self.port)

    def open_task(
        self,
        task_id: str,
        participants: Mapping[str, bytes],
        catalogue: Catalogue,
        limits: ChannelLimits | None = None,
    ) -> Lobby:
        """Admit these collaborators.

        Args:
            participants: The certificate (PEM) of each, under the name its channel is to have.
            catalogue: The messages that may travel.

        Raises:
            TransportError: The task is open already.
            IdentityError: A certificate is invalid or stands there twice.
        """
        lobby = Lobby(task_id, participants, limits, catalogue, lambda: self._close_task(task_id))
        if len({fingerprint_of(pem) for pem in participants.values()}) < len(participants):
            raise IdentityError(f"two participants of task {task_id} have the same certificate")
        with self._lock:
            if task_id in self._lobbies:
                raise TransportError(f"task {task_id} is open on this server already")
            self._lobbies[task_id] = lobby
        return lobby

    def stop(self, grace: float = 5.0) -> None:
        """Admit nobody more, let closed channels finish for `grace` seconds, then end every stream."""
        self._server.stop(grace).wait()
        if not self._has_stopped:
            self._has_stopped = True
            forks.has_stopped(self.port)

    def __enter__(self) -> PartyServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _close_task(self, task_id: str) -> None:
        with self._lock:
            lobby = self._lobbies.pop(task_id, None)
            if lobby is not None:
                self._over.update((task_id, each) for each in lobby.fingerprints)

    def _pinned(self) -> tuple[bytes, ...]:
        with self._lock:
            return tuple({pem: None for lobby in self._lobbies.values() for pem in lobby.certificates.values()})

    def _exchange(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """One RPC, from arrival to the end of the stream, in a thread of its own."""
        status, details = grpc.StatusCode.INTERNAL, _INTERNAL
        try:
            channel, lobby, status, details = self._admit(context)
            if channel is not None and lobby is not None:
                incoming = _incoming(frames, channel.peer)
                threading.Thread(
                    target=_read, args=(incoming, channel, lobby), name=f"from {channel.peer}", daemon=True
                ).start()
                with suppress(grpc.RpcError):  # gone again already: the reader finds out
                    context.send_initial_metadata(((ACCEPTED_KEY, "1"),))
                yield from channel.outgoing()
                return
        except Exception:
            # Otherwise gRPC would tell the peer the exception's text.
            _LOG.exception("a stream failed")
        context.abort(status, details)

    def _admit(self, context: grpc.ServicerContext) -> tuple[Channel | None, Lobby | None, grpc.StatusCode, str]:
        task_id = str(dict(context.invocation_metadata()).get(TASK_ID_KEY, ""))
        fingerprint = _fingerprint_of_client(context)
        with self._lock:
            lobby = self._lobbies.get(task_id)
        name = lobby.name_of(fingerprint) if lobby else None
        if lobby is None or name is None:
            is_late = (task_id, fingerprint) in self._over  # one that serves comes back at once
            if not is_late and fingerprint not in self._refused:  # a peer that tries for ever does not fill the log
                self._refused.add(fingerprint)
                _LOG.warning("refused certificate %s: it is in no open task of the id it named", fingerprint)
            return None, None, grpc.StatusCode.PERMISSION_DENIED, _NOT_A_PARTICIPANT
        channel = lobby.seat(name, context.cancel)
        return channel, lobby, grpc.StatusCode.ALREADY_EXISTS, _CONNECTED_ALREADY


def _fingerprint_of_client(context: grpc.ServicerContext) -> str:
    identities: Mapping[str, Any] = context.auth_context()
    return fingerprint_of(identities["x509_pem_cert"][0])


def _read(incoming: Iterator[bytes], channel: Channel, lobby: Lobby) -> None:
    channel.read_from(incoming)
    lobby.left(channel)


def _incoming(frames: Iterator[bytes], peer: str) -> Iterator[bytes]:
    try:
        yield from frames
    except grpc.RpcError as error:
        raise ConnectionLost(f"the connection to {peer} broke; is it still running?") from error


class _ThreadPerStream(ThreadPoolExecutor):
    """A daemon thread for every stream: streams live as long as tasks, and must not keep a process from exiting.

    The number is bounded by `maximum_concurrent_rpcs`.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run in a new thread."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="stream", daemon=True).start()
        return future
