"""The collaborator's side: connect to the host of a task, wait for it if it is not up yet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from protocols.wire.codec import Catalogue
from secure_hfl.errors import ConnectionLost, PeerRefused
from secure_hfl.identity import Identity, check_certificate
from secure_hfl.transport.channel import Channel, ChannelLimits
from secure_hfl.transport.tls import (
    ACCEPTED_KEY,
    METHOD,
    SERVICE,
    TASK_ID_KEY,
    channel_credentials,
    client_options,
    proxy_name,
)

PROBE_SECONDS = 2.0
MAX_CAUSE = 300


def connect(
    address: str,
    task_id: str,
    identity: Identity,
    host_certificate_pem: bytes,
    timeout: float,
    peer_name: str,
    *,
    catalogue: Catalogue,
    limits: ChannelLimits | None = None,
    proxy: str | None = None,
) -> Channel:
    """Join a task.

    Args:
        address: The host's "host:port".
        task_id: The task.
        identity: This party's key and certificate, which the host's task must list.
        host_certificate_pem: The one certificate that is accepted from the host.
        timeout: Seconds to wait for the host to come up and admit us.
        peer_name: What to call the host.
        catalogue: The messages that may travel.
        proxy: An HTTP proxy to go through, "http://[user:password@]host:port".

    Raises:
        ConfigurationError: The proxy is none.
        PeerRefused: The host could not be reached in time, or it refused us. Says why and what to check.
        IdentityError: The host's certificate is invalid.
    """
    host = check_certificate(host_certificate_pem)
    options = client_options(proxy)
    stream = _Stream(address, task_id, identity, host_certificate_pem, peer_name, limits, catalogue, options)
    try:
        arrived = stream.answered.wait(timeout)
        if stream.accepted:
            return stream.channel
        cause = stream.refusal() if arrived else stream.probe()
    except BaseException:
        stream.hang_up()
        raise
    stream.hang_up()
    problem = f"{peer_name} did not admit us" if arrived else f"no connection to {peer_name} within {timeout:g} s"
    way = "" if proxy is None else f" through the proxy {proxy_name(proxy)}"
    raise PeerRefused(
        f"{problem}{way} ({cause}). Check that the host is running task {task_id} at {address}, "
        f"that its certificate is still {host.fingerprint} and that its task lists ours, {identity.fingerprint}"
    )


class _Stream:
    """The RPC, its gRPC channel and its reader thread."""

    def __init__(
        self,
        address: str,
        task_id: str,
        identity: Identity,
        host_certificate_pem: bytes,
        peer_name: str,
        limits: ChannelLimits | None,
        catalogue: Catalogue,
        options: tuple[tuple[str, int | str], ...],
    ) -> None:
        self.answered = threading.Event()
        self.accepted = False
        self.channel = Channel(peer_name, catalogue, self.hang_up, limits)
        credentials = channel_credentials(identity, host_certificate_pem)
        self._grpc_channel = grpc.secure_channel(address, credentials, options=options)
        self._exchange = self._grpc_channel.stream_stream(f"/{SERVICE}/{METHOD}", None, None)
        metadata = ((TASK_ID_KEY, task_id),)
        self._call: Any = self._exchange(self.channel.outgoing(), metadata=metadata, wait_for_ready=True)
        threading.Thread(target=self._read, name=f"from {peer_name}", daemon=True).start()

    def _read(self) -> None:
        """The reader thread: the host's answer, then its frames."""
        try:
            self.accepted = ACCEPTED_KEY in dict(self._call.initial_metadata() or ())
        finally:
            self.answered.set()
        self.channel.read_from(self._frames())

    def _frames(self) -> Iterator[bytes]:
        try:
            yield from self._call
        except grpc.RpcError:
            cause = _one_line(self._call.details())
            peer = self.channel.peer
            raise ConnectionLost(f"the connection to {peer} broke ({cause}); is it still running?") from None

    def refusal(self) -> str:
        """Why the host ended the RPC without accepting it. A host that only goes on is not waited for."""
        ended = threading.Event()
        if self._call.add_callback(ended.set) and not ended.wait(PROBE_SECONDS):
            return "it answers otherwise than this program does"
        return _one_line(self._call.details())

    def probe(self) -> str:
        """Why there is no connection: what a call that does not wait for one fails with."""
        probe: Any = self._exchange(iter(()), timeout=PROBE_SECONDS)
        return _one_line(probe.details())

    def hang_up(self) -> None:
        """End the RPC and the connection."""
        self._call.cancel()
        self._grpc_channel.close()


def _one_line(text: str | None) -> str:
    """What gRPC or the host says, fit for a terminal."""
    return "".join(c if c.isprintable() else " " for c in text or "no reason given")[:MAX_CAUSE]
