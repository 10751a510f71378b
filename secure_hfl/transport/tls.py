"""gRPC's settings: mutual TLS in which the only roots are the pinned certificates themselves, and the bounds.

Both ends are gRPC, whose TLS library offers 1.2 and 1.3 and agrees with itself on 1.3; a test sees it do so.

What a stranger or a hostile participant can take (`tests/hostile` attacks each line):

    bound on                               is                                  by
    a handshake, TLS and HTTP/2            10 s                                server_handshake_timeout_ms
    connections, from all the world        MAX_CONNECTIONS, more are closed    max_allowed_incoming_connections
    a connection without a call            20 s                                max_connection_idle_ms
    a peer that answers no pings           15 s                                keepalive_*
    calls of a connection; of all          4; 1024                             max_concurrent_streams; MAX_STREAMS
    calls of a participant of a task       1, a second one is refused          Lobby.seat
    metadata of a call                     8 KiB, never above 16 KiB           max_metadata_size
    a frame, also once decompressed        512 KiB                             max_receive_message_length
    a message                              256 MiB, held only as it arrives    ChannelLimits.message_bytes
    messages waiting, in and out           64 MiB each way                     ChannelLimits
    elements of a list in a message        131,072                             codec.MAX_ELEMENTS
    silence before all have joined         schedule_timeout                    Lobby.wait, connect
    silence, or a message without end      calculation_timeout                 engine.link, engine.offline_phase
    threads                                3 a participant                     its stream
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import grpc

from protocols.wire.frames import CHUNK_BYTES, FRAME_SLACK
from secure_hfl.errors import ConfigurationError
from secure_hfl.identity import TLS_NAME, Identity

SERVICE = "secure_hfl.Party"
METHOD = "Exchange"
TASK_ID_KEY = "task-id"
ACCEPTED_KEY = "accepted"

MAX_CONNECTIONS = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
"""As many as there may be calls, but few enough that a flood leaves the process file descriptors for its own work."""

SWAP_SECONDS = 0.05
"""How long a changed configuration is held back. gRPC (1.85) frees the old one while another thread may just be
starting a handshake with it, which takes microseconds: without this, and with a new configuration for every connection,
a flood of connections ended the process."""

_Options = tuple[tuple[str, int | str], ...]
_USE_PROXY = "grpc.enable_http_proxy"

_COMMON: _Options = (
    ("grpc.max_receive_message_length", CHUNK_BYTES + FRAME_SLACK),
    ("grpc.max_send_message_length", CHUNK_BYTES + FRAME_SLACK),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # what keepalive does not see: one way is broken, the other is not
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER_OPTIONS: _Options = (
    *_COMMON,
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 4),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.max_connection_idle_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

CLIENT_OPTIONS: _Options = (
    *_COMMON,
    ("grpc.ssl_target_name_override", TLS_NAME),
    (_USE_PROXY, 0),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 500),
)


def client_options(proxy: str | None) -> _Options:
    """gRPC's settings of a client: those above, and an HTTP proxy that is asked to CONNECT and that TLS goes through.

    Proxies that environment variables name are not used. Where gRPC goes through the given one, it still reaches the
    hosts that `no_proxy` names directly.

    Args:
        proxy: "http://[user:password@]host:port"; None: straight to the host.

    Raises:
        ConfigurationError: it is not of that form.
    """
    if proxy is None:
        return CLIENT_OPTIONS
    proxy_name(proxy)
    return (*(each for each in CLIENT_OPTIONS if each[0] != _USE_PROXY), (_USE_PROXY, 1), ("grpc.http_proxy", proxy))


def proxy_name(proxy: str) -> str:
    """Host and port of a proxy, without its password. Raises `ConfigurationError`."""
    try:
        parts = urlsplit(proxy)
        if parts.scheme == "http" and parts.hostname and parts.port and not (parts.path.strip("/") or parts.query):
            return parts.netloc.rpartition("@")[2]
    except ValueError:
        pass
    raise ConfigurationError("a proxy reads http://host:port or http://user:password@host:port")


def server_credentials(identity: Identity, pinned: Callable[[], tuple[bytes, ...]]) -> grpc.ServerCredentials:
    """TLS that asks every client for one of the certificates that are pinned at that moment."""

    def configuration(certificates: tuple[bytes, ...]) -> grpc.ServerCertificateConfiguration:
        # gRPC wants at least one root. Our own certificate lets nobody in: its key is here.
        roots = b"".join((identity.certificate_pem, *certificates))
        pair = (identity.private_key_pem, identity.certificate_pem)
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    in_use = pinned()
    initial = configuration(in_use)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """Called at every connection, one at a time; None leaves gRPC's configuration as it is."""
        nonlocal in_use
        now = pinned()
        if now == in_use:
            return None
        time.sleep(SWAP_SECONDS)
        in_use = now
        return configuration(now)

    # The type stubs do not know that None is allowed.
    return grpc.dynamic_ssl_server_credentials(initial, fetch, require_client_authentication=True)  # type: ignore[arg-type]


def channel_credentials(identity: Identity, host_certificate_pem: bytes) -> grpc.ChannelCredentials:
    """TLS that accepts this one host."""
    return grpc.ssl_channel_credentials(host_certificate_pem, identity.private_key_pem, identity.certificate_pem)
