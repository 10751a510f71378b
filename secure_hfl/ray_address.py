"""Where `--engine` may take a party's secrets: this machine, or another one by TLS. Elsewhere only if told so by name.

    ray                           a Ray on this machine, of this party's own
    ray://HOST:PORT               a cluster that runs: on this machine, or with RAY_USE_TLS
    ray+unencrypted://HOST:PORT   a cluster that runs, and whatever lies between may read all that is sent

With RAY_USE_TLS=1 Ray's client and its cluster show each other certificates of one authority: files named by
RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT. That is authentication, too. Without, RAY_AUTH_MODE=token
has the client show a token, and whoever reads the channel sees it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from secure_hfl.errors import ConfigurationError

LOCAL = "ray"
OVER_TLS, UNENCRYPTED = "ray", "ray+unencrypted"
CERTIFICATES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")


def ray_address(engine: str) -> str:
    """What Ray calls the place that `--engine` names: "local", for one of our own on this machine, or "ray://...".

    Raises:
        ConfigurationError: it names none, or another machine that secrets would go to in the clear.
    """
    if engine == LOCAL:
        return "local"  # or Ray looks for a cluster in the environment, and in a file that anybody here may write
    known = re.fullmatch(rf"({OVER_TLS}|{re.escape(UNENCRYPTED)})://[^\s/]+:[0-9]+", engine)
    host = _host(engine) if known else ""
    if not host:
        raise ConfigurationError(f"--engine {engine}: write ray, for this machine, or ray://HOST:PORT")
    is_tls = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    if is_tls and (missing := [name for name in CERTIFICATES if not os.environ.get(name)]):
        raise ConfigurationError(f"--engine {engine}: RAY_USE_TLS needs files that {', '.join(missing)} would name")
    scheme, _, place = engine.partition("://")
    if not is_tls and scheme != UNENCRYPTED and not is_here(host):
        raise ConfigurationError(
            f"--engine {engine}: secrets would cross the network in the clear. Set RAY_USE_TLS=1 and "
            f"{', '.join(CERTIFICATES)} here and at the cluster; or write {UNENCRYPTED}://{place} if that network is "
            "yours alone"
        )
    return f"{OVER_TLS}://{place}"


def is_here(host: str) -> bool:
    """Whether a host's name can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(engine: str) -> str:
    try:
        return urlsplit(engine).hostname or ""
    except ValueError:  # brackets that hold no address
        return ""
